"""Matrices of each token's effect on each other one, by differentiation, and statistics of them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from anyformer.contract import Mixer
from anyformer.models import SequenceModel


def implied_matrix(
    mixer: Mixer, x: Tensor, *, values: str = "v", outputs: str = "out", **inputs: Any
) -> Tensor:
    """Return the attention matrix that a mixer is equivalent to, even if it never computes one (Qin 2022, section 5).

    With v the output of the submodule ``values`` and z the input of the submodule ``outputs``, both of H heads of one
    width, entry (t, s) of head h is dz[t, h, 0] / dv[s, h, 0] at fixed queries and keys. For softmax attention that
    is the softmax. It takes one backward pass for each token.

    Args:
        mixer: a mixer with both submodules, and ``num_heads`` if it has several heads.
        x: (B, T, D).
        values: name of the submodule that computes the values; if it computes queries and keys too, values come last.
        outputs: name of the output projection.
        inputs: further arguments of the mixer.

    Returns:
        (B, H, T, T).

    Raises:
        ValueError: if the mixer has no submodule of one of these names.
    """
    seen: dict[str, Tensor] = {}

    def written(_: nn.Module, __: Any, y: Tensor) -> Tensor:
        seen["v"] = y.detach().requires_grad_()
        return seen["v"]

    def read(_: nn.Module, given: tuple[Tensor, ...]) -> None:
        seen["z"] = given[0]

    hooks = [
        _map(mixer, values).register_forward_hook(written),
        _map(mixer, outputs).register_forward_pre_hook(read),
    ]
    try:
        with torch.enable_grad():
            mixer(x, **inputs)
    finally:
        for hook in hooks:
            hook.remove()
    z, v, H = seen["z"], seen["v"], int(getattr(mixer, "num_heads", 1))
    width = z.shape[2] // H
    rows = []
    for t in range(x.shape[1]):
        (row,) = torch.autograd.grad(z[:, t, ::width].sum(), v, retain_graph=True)
        rows.append(row[..., -z.shape[2] :][..., ::width])
    return torch.stack(rows, 2).permute(0, 3, 2, 1)


def influence(mixer: Mixer, x: Tensor, **inputs: Any) -> Tensor:
    """Return the Frobenius norms of dy[t] / dx[s], (B, T, T): how strongly each output depends on each input.

    It works for every mixer, and takes T * D backward passes.

    Args:
        x: (B, T, D).
        inputs: further arguments of the mixer.
    """
    x = x.detach().requires_grad_()
    with torch.enable_grad():
        y = mixer(x, **inputs)
    rows = []
    for t in range(y.shape[1]):
        square = torch.zeros(x.shape[:2], device=x.device, dtype=x.dtype)
        for d in range(y.shape[2]):
            (row,) = torch.autograd.grad(y[:, t, d].sum(), x, retain_graph=True)
            square = square + row.square().sum(-1)
        rows.append(square.sqrt())
    return torch.stack(rows, 1)


def mass_by_distance(matrix: Tensor) -> Tensor:
    """Return the share of a row's absolute weight at each distance, averaged over all rows that are not zero.

    Args:
        matrix: (..., T, T), from :func:`implied_matrix` or :func:`influence`.

    Returns:
        (2 T - 1,), for query - key from -(T - 1) (the last key, seen by the first query) to T - 1; it sums to 1.
    """
    T = matrix.shape[-1]
    weight = matrix.detach().abs().reshape(-1, T, T)
    total = weight.sum(-1, keepdim=True)
    share = weight / torch.where(total > 0, total, 1.0)
    position = torch.arange(T, device=matrix.device)
    distance = (position[:, None] - position + T - 1).flatten()
    mass = share.new_zeros(2 * T - 1).index_add(0, distance, share.sum(0).flatten())
    return mass / (total > 0).sum().clamp_min(1)


@torch.no_grad()
def depth_error(model: SequenceModel, other: SequenceModel, x: Tensor) -> list[float]:
    """Return the relative error of each sublayer's input between two models, in order of depth.

    If ``other`` approximates the attention of ``model``, this shows how errors accumulate over depth.

    Args:
        x: input of both models, tokens (B, T) or features (B, T, F).

    Returns:
        ||a - b|| / ||a|| for each sublayer, a being its input in ``model`` and b in ``other``.

    Raises:
        ValueError: if the models differ in their number of sublayers.
    """
    found = []
    for each in (model, other):
        seen: list[Tensor] = []
        hooks = [
            mixer.register_forward_pre_hook(lambda _, given, to=seen: to.append(given[0]))
            for mixer in each.body.stack.mixers
        ]
        each(x)
        for hook in hooks:
            hook.remove()
        found.append(seen)
    mine, theirs = found
    if len(mine) != len(theirs):
        raise ValueError(f"models must have the same number of sublayers, got {len(mine)} and {len(theirs)}")
    return [float((a - b).norm() / a.norm()) for a, b in zip(mine, theirs, strict=True)]


def _map(mixer: Mixer, name: str) -> nn.Module:
    found = getattr(mixer, name, None)
    if not isinstance(found, nn.Module):
        raise ValueError(
            f"{mixer.info.name} has no submodule {name!r}; it has {', '.join(dict(mixer.named_children()))}"
        )
    return found
