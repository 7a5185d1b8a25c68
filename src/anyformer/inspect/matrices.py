"""What moves from token to token: matrices by differentiation, and what can be read from them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from anyformer.contract import Mixer
from anyformer.models import SequenceModel


def implied_matrix(
    mixer: Mixer, x: Tensor, *, values: str = "v", outputs: str = "out", **inputs: Any
) -> Tensor:
    """The attention matrix that a mixer amounts to, whether or not it ever makes one (Qin 2022, section 5).

    Of what the map ``outputs`` reads, z, and what the map ``values`` writes, v, both with H heads of one width, it is
    dz[t, h, 0] / dv[s, h, 0]; queries and keys stay as they are. For softmax attention that is the softmax. It takes a
    backward pass for each token.

    Args:
        mixer: with ``num_heads`` and both maps; where ``values`` also writes queries and keys, values come last.
        x: (B, T, D).
        inputs: further arguments of the mixer.

    Returns:
        (B, H, T, T).

    Raises:
        ValueError: where the mixer has no such maps.
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
    """How strongly each output depends on each input: (B, T, T), Frobenius norms of dy[t] / dx[s].

    For any mixer, values or none; it takes a backward pass for each number of an output.
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
    """The share of each row's absolute weight that lies at each distance, averaged over all rows that have some.

    Args:
        matrix: (..., T, T), of :func:`implied_matrix` or :func:`influence`.

    Returns:
        (2 T - 1,), for query - key from -(T - 1), the last key as the first query sees it, to T - 1; sums to 1.
    """
    T = matrix.shape[-1]
    weight = matrix.detach().abs().reshape(-1, T, T)
    total = weight.sum(-1, keepdim=True)
    share = weight / torch.where(total > 0, total, 1.0)
    place = torch.arange(T, device=matrix.device)
    distance = (place[:, None] - place + T - 1).flatten()
    mass = share.new_zeros(2 * T - 1).index_add(0, distance, share.sum(0).flatten())
    return mass / (total > 0).sum().clamp_min(1)


@torch.no_grad()
def depth_error(model: SequenceModel, other: SequenceModel, x: Tensor) -> list[float]:
    """How far two models of as many sublayers are apart in what each sublayer reads, relative to the first's.

    Where ``other`` approximates the attention of ``model``, it is by how much errors have added up.

    Raises:
        ValueError: for models of other numbers of sublayers.
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
        raise ValueError(f"models must have as many sublayers, got {len(mine)} and {len(theirs)}")
    return [float((a - b).norm() / a.norm()) for a, b in zip(mine, theirs, strict=True)]


def _map(mixer: Mixer, name: str) -> nn.Module:
    found = getattr(mixer, name, None)
    if not isinstance(found, nn.Module):
        raise ValueError(
            f"{mixer.info.name} has no map {name!r}; its parts are {', '.join(dict(mixer.named_children()))}"
        )
    return found
