"""Measurements that the laws share: distances, exponents, saved bytes, expected errors."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from anyformer.contract import GROWTHS, Mixer
from anyformer.laws.case import LawBroken, SampleInputs

LENGTH = 19
"""Tokens of a sample unless a law needs more: no multiple of a chunk."""

EXPONENTS = {"none": 0.0, "constant": 0.05, "log n": 0.6, "n": 1.1, "n log n": 1.3, "n^1.5": 1.6, "n^2": 2.1}
"""Largest exponent of the length that passes for each declared growth."""
assert set(EXPONENTS) == set(GROWTHS)


def close(what: str, got: Tensor, expected: Tensor, tolerance: float = 1e-9) -> None:
    """Check that two tensors are close.

    Args:
        what: name of ``got`` in the message.
        tolerance: largest difference, relative to the largest absolute value of ``expected`` or to 1.

    Raises:
        LawBroken: if they differ in shape or by more, or ``got`` is not finite.
    """
    if got.shape != expected.shape:
        raise LawBroken(f"{what}: shape {tuple(got.shape)} instead of {tuple(expected.shape)}")
    if got.numel() == 0:
        return
    got, expected = (t.detach().to("cpu", torch.float64) for t in (got, expected))
    if not bool(got.isfinite().all()):
        raise LawBroken(f"{what}: not finite")
    away = float((got - expected).abs().max()) / max(1.0, float(expected.abs().max()))
    if not away <= tolerance:
        raise LawBroken(f"{what}: off by {away:.1e}, allowed {tolerance:.0e}")


def limit(mixer: Mixer, length: int) -> int:
    """Return ``length``, or the mixer's ``max_length`` if that is shorter."""
    longest = mixer.info.max_length
    return length if longest is None else min(length, longest)


def ragged_mask(batch: int, length: int) -> Tensor:
    """Return a mask (B, T) with scattered real tokens; the first half of the first sample is padding."""
    mask = torch.rand(batch, length, generator=torch.Generator().manual_seed(3)) > 0.4
    mask[0, : length // 2] = False
    return mask


def weights_for(y: Tensor) -> Tensor:
    """Return fixed random weights of the shape of y, so that a weighted sum over y tells its elements apart."""
    return torch.randn(y.shape, generator=torch.Generator().manual_seed(5), dtype=torch.float64).to(y)


def gradient_of(t: Tensor) -> Tensor:
    """Return a copy of the gradient of a leaf, or zeros if it has none."""
    return torch.zeros_like(t) if t.grad is None else t.grad.detach().clone()


def every_parameter_learns(module: nn.Module) -> None:
    """``LawBroken`` unless every parameter got a finite gradient that is not zero."""
    for name, p in module.named_parameters():
        if p.grad is None or not bool((p.grad != 0).any()):
            raise LawBroken(f"parameter {name} gets no gradient")
        if not bool(p.grad.isfinite().all()):
            raise LawBroken(f"parameter {name} gets a gradient that is not finite")


def check_exponent(
    what: str, declared: str, lengths: list[int], figures: Sequence[float], settled: bool = False
) -> None:
    """Check the growth of ``figures`` between the last two lengths against the declared one.

    Args:
        what: name of the figures in the message.
        declared: one of ``GROWTHS``.
        settled: the growth must not be smaller either.

    Raises:
        LawBroken: if it differs.
    """
    if figures[-1] == 0 or figures[-2] == 0:
        return
    exponent = math.log(figures[-1] / figures[-2]) / math.log(lengths[-1] / lengths[-2])
    if exponent > EXPONENTS[declared] + 0.02:
        raise LawBroken(
            f"{what} grow like n^{exponent:.2f} from {lengths[-2]} to {lengths[-1]}, declared {declared!r}"
        )
    if settled and declared in ("n", "n^2") and exponent < EXPONENTS[declared] - 0.4:
        raise LawBroken(f"{what} grow like n^{exponent:.2f} only, declared {declared!r}")


def saved_bytes(mixer: Mixer, sample: SampleInputs) -> int:
    """Return the bytes that a forward pass keeps for its backward pass."""
    held: dict[int, torch.UntypedStorage] = {}

    def pack(t: Tensor) -> Tensor:
        storage = t.untyped_storage()
        held[storage.data_ptr()] = storage  # kept alive, so that its address is not used again
        return t

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        y = sample.with_x(sample.x.clone().requires_grad_()).forward(mixer)
    del y
    return sum(storage.nbytes() for storage in held.values())


def expect_error(what: str, word: str, call: Any, also: str = "") -> None:
    """Check that ``call`` raises a ``ValueError`` whose message contains ``word`` and ``also``.

    Args:
        what: the wrong input, in words.

    Raises:
        LawBroken: if it raises nothing, another error or another message.
    """
    try:
        call()
    except ValueError as error:
        if word not in str(error) or also not in str(error):
            raise LawBroken(f"{what}: the message does not name {word.strip()!r} {also}: {error}") from None
    except Exception as error:
        raise LawBroken(f"{what}: raised {type(error).__name__} instead of ValueError: {error}") from None
    else:
        raise LawBroken(f"{what}: no error")


def close_in_bfloat16(what: str, got: Tensor, expected: Tensor, tolerance: float = 0.1) -> None:
    """Check that two tensors are close in root mean square; single elements may differ by a discrete choice.

    Raises:
        LawBroken: if they are not, or ``got`` is not finite.
    """
    got, expected = got.double(), expected.double()
    if not bool(got.isfinite().all()):
        raise LawBroken(f"{what}: not finite")
    away = float((got - expected).square().mean().sqrt() / expected.square().mean().sqrt().clamp_min(1e-6))
    if away > tolerance:
        raise LawBroken(f"{what}: off by {away:.1%} of its size, allowed {tolerance:.0%}")
