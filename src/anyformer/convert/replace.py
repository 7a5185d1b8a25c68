"""Replacement of a sublayer of a trained model by another mixer, which is first fitted to its outputs."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from anyformer.contract import Mixer
from anyformer.models import SequenceModel


@torch.no_grad()
def record_sublayer(model: SequenceModel, sublayer: int, x: Tensor) -> tuple[Tensor, Tensor]:
    """Return the input and the output of a sublayer, both (B, T, D), when the model is given ``x``."""
    found: list[tuple[Tensor, Tensor]] = []

    def note(_: Any, given: tuple[Any, ...], y: Tensor) -> None:
        found.append((given[0].detach().clone(), y.detach().clone()))

    handle = _sublayer(model, sublayer).register_forward_hook(note)
    model(x)
    handle.remove()
    return found[0]


def teach(
    mixer: Mixer, inputs: Tensor, outputs: Tensor, *, steps: int = 300, learning_rate: float = 3e-3
) -> float:
    """Train a mixer to map ``inputs`` to ``outputs``, both (B, T, D), by least squares (Adam).

    Returns:
        The mean squared error in the last step.
    """
    optimizer = torch.optim.Adam(mixer.parameters(), lr=learning_rate)
    loss = torch.zeros(())
    for _ in range(steps):
        loss = (mixer(inputs) - outputs).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return float(loss.detach())


def replace_sublayer(model: SequenceModel, sublayer: int, mixer: Mixer) -> None:
    """Replace a sublayer by ``mixer``, in place. The model's spec stays as it was.

    Raises:
        ValueError: if there is no such sublayer, or the mixer has another width.
    """
    _sublayer(model, sublayer)
    if mixer.dim != model.spec.dim:
        raise ValueError(f"mixer must have width {model.spec.dim}, got {mixer.dim}")
    model.body.stack.sublayers[sublayer] = mixer


def _sublayer(model: SequenceModel, sublayer: int) -> Mixer:
    mixers = model.body.stack.mixers
    if not 0 <= sublayer < len(mixers):
        raise ValueError(f"sublayer must be 0 to {len(mixers) - 1}, got {sublayer}")
    return mixers[sublayer]
