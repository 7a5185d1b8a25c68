"""Checks of statements that several papers make of their parts: each raises ``LawBroken`` where one does not hold.

They speak of a part (a mixer, a layer, a model) and an input that the caller made, in float64 where not said.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from anyformer.contract import Mixer
from anyformer.inputs import Inputs, Layout
from anyformer.laws.measures import close, weights_for
from anyformer.layers.heads import merge_heads, split_heads


def streams(part: Any, x: Tensor, *sizes: int | Sequence[int], tolerance: float = 1e-9) -> Any:
    """Streamed in pieces of each size (by default one token at a time), a part gives what it gives for the whole.

    Args:
        x: (B, T, ...), what the part is called with.
        sizes: of all pieces, or of each.

    Returns:
        The state after the last token.
    """
    whole, state = part(x), None
    for size in sizes or (1,):
        y, state = in_pieces(part, x, size)
        close(f"in pieces of {size}", y, whole, tolerance)
    return state


def in_pieces(part: Any, x: Tensor, size: int | Sequence[int], state: Any = None) -> tuple[Tensor, Any]:
    """Stream x (B, T, ...) in pieces, from the start or from a state: the outputs (B, T, ...) and the last state."""
    state, pieces = part.init_state(len(x)) if state is None else state, []
    for piece in x.split(size if isinstance(size, int) else list(size), 1):
        y, state = part.stream(piece, state)
        pieces.append(y)
    return torch.cat(pieces, 1), state


def mixes(mixer: Mixer, x: Tensor, tolerance: float = 1e-9) -> Tensor:
    """Check that a mixer's output is its matrix times its values, finished, and return the matrix (B, H, T, S)."""
    found = mixer.mixing(x)
    assert found is not None, f"{mixer.info.name} has no mixing matrix"
    close("the matrix times the values", found.finish(found.matrix @ found.values), mixer(x), tolerance)
    return found.matrix


def reduces_to(
    part: nn.Module,
    other: nn.Module,
    *inputs: Any,
    weights: Mapping[str, Tensor] | None = None,
    what: str = "y",
    strict: bool = True,
    tolerance: float = 1e-9,
) -> None:
    """Under a part's weights, another one gives what the part does.

    Args:
        weights: what the other one loads, by default the part's.
        strict: whether every weight of the one must be one of the other.
    """
    other.load_state_dict(part.state_dict() if weights is None else weights, strict=strict)
    close(what, other(*inputs), part(*inputs), tolerance)


def separate(mixer: Any) -> dict[str, Tensor]:
    """The weights of a mixer whose queries, keys and values come from one map, as those of ``attention``."""
    q, k, v = mixer.qkv.weight.detach().chunk(3)
    return {"q.weight": q, "k.weight": k, "v.weight": v, "out.weight": mixer.out.weight.detach()}


def heads_of(mixer: Any, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Queries, keys and values (B, H, T, K) of a mixer whose maps are ``q``, ``k``, ``v``, or ``qkv`` in one."""
    maps = mixer.qkv(x).chunk(3, -1) if hasattr(mixer, "qkv") else (mixer.q(x), mixer.k(x), mixer.v(x))
    groups = getattr(mixer, "num_kv_heads", mixer.num_heads)
    q, k, v = (split_heads(t, n) for t, n in zip(maps, (mixer.num_heads, groups, groups), strict=True))
    return q, k, v


def from_heads(mixer: Any, y: Tensor) -> Tensor:
    """The output (B, T, D) that a mixer's map ``out`` makes of its heads' (B, H, T, V)."""
    found: Tensor = mixer.out(merge_heads(y))
    return found


def equal_with_gradients(
    what: str, got: Tensor, expected: Tensor, inputs: Iterable[Tensor], tolerance: float = 1e-9
) -> None:
    """Two tensors agree, and so do the gradients that inputs get through either of them."""
    inputs = list(inputs)
    close(what, got, expected, tolerance)
    mine, theirs = (
        torch.autograd.grad((y * weights_for(y)).sum(), inputs, retain_graph=True) for y in (got, expected)
    )
    for i, (one, other) in enumerate(zip(mine, theirs, strict=True)):
        close(f"{what}, gradient of input {i}", one, other, tolerance)


def no_leak(part: Callable[[Tensor], Tensor], x: Tensor, place: int) -> None:
    """Other tokens from a place on change no output before it, bit by bit.

    Args:
        x: (B, T, ...): numbers, which become others at random, or tokens, which become the next one that occurs.
    """
    later = x[:, place:]
    other = torch.randn_like(later) if x.is_floating_point() else (later + 1) % (x.max() + 1)
    close("before the change", part(torch.cat([x[:, :place], other], 1))[:, :place], part(x)[:, :place], 0.0)


def permutes(part: Callable[[Tensor], Tensor], x: Tensor, tolerance: float = 1e-12) -> None:
    """Tokens in another order give the same outputs in that order."""
    order = torch.randperm(x.shape[1])
    close("shuffled", part(x[:, order]), part(x)[:, order], tolerance)


def perturb(part: nn.Module, scale: float, among: Callable[[str], bool] = lambda name: True) -> None:
    """Move the parameters whose names are ``among`` those wanted off special values, such as zeros and ones."""
    with torch.no_grad():
        for name, p in part.named_parameters():
            if among(name):
                p.add_(scale * torch.randn_like(p))


def inputs_of(x: Tensor, mask: Tensor | None = None) -> Inputs:
    """The second argument of a mixer's ``_forward`` for x (B, T, D) and a mask alone."""
    return Layout.of(x, mask).inputs(None, None, None, None, x.dtype)
