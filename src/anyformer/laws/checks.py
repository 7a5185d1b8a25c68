"""Checks of statements that hold for several papers' parts; each raises ``LawBroken`` if its statement does not hold.

The caller makes the part (a mixer, a layer, a model) and its input, in float64 unless a check says otherwise.
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
    """Check that a part streamed in pieces, by default one token at a time, gives its output for the whole sequence.

    Args:
        part: a part with ``init_state`` and ``stream``.
        x: (B, T, ...), its input.
        sizes: ways of splitting: the size of all pieces, or a list of sizes.
        tolerance: as in :func:`anyformer.laws.measures.close`.

    Returns:
        The state after the last token.
    """
    whole, state = part(x), None
    for size in sizes or (1,):
        y, state = in_pieces(part, x, size)
        close(f"in pieces of {size}", y, whole, tolerance)
    return state


def in_pieces(part: Any, x: Tensor, size: int | Sequence[int], state: Any = None) -> tuple[Tensor, Any]:
    """Stream x (B, T, ...) in pieces, from the start or from a state; returns outputs (B, T, ...) and the new state."""
    state, pieces = part.init_state(len(x)) if state is None else state, []
    for piece in x.split(size if isinstance(size, int) else list(size), 1):
        y, state = part.stream(piece, state)
        pieces.append(y)
    return torch.cat(pieces, 1), state


def mixes(mixer: Mixer, x: Tensor, tolerance: float = 1e-9) -> Tensor:
    """Check that a mixer's output is finish(matrix @ values) of its ``mixing``; returns the matrix (B, H, T, S)."""
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
    """Check that ``other``, with the weights of ``part``, gives the output of ``part``.

    Args:
        inputs: arguments of both.
        weights: state dict for ``other``; by default that of ``part``.
        what: name of the output in messages.
        strict: require that both have the same weights.
        tolerance: as in :func:`anyformer.laws.measures.close`.
    """
    other.load_state_dict(part.state_dict() if weights is None else weights, strict=strict)
    close(what, other(*inputs), part(*inputs), tolerance)


def separate(mixer: Any) -> dict[str, Tensor]:
    """Return the weights of a mixer with one map ``qkv`` as a state dict of ``attention``, which has three."""
    q, k, v = mixer.qkv.weight.detach().chunk(3)
    return {"q.weight": q, "k.weight": k, "v.weight": v, "out.weight": mixer.out.weight.detach()}


def heads_of(mixer: Any, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return queries, keys and values (B, H, T, K) of a mixer with maps ``q``, ``k`` and ``v``, or ``qkv``."""
    maps = mixer.qkv(x).chunk(3, -1) if hasattr(mixer, "qkv") else (mixer.q(x), mixer.k(x), mixer.v(x))
    groups = getattr(mixer, "num_kv_heads", mixer.num_heads)
    q, k, v = (split_heads(t, n) for t, n in zip(maps, (mixer.num_heads, groups, groups), strict=True))
    return q, k, v


def from_heads(mixer: Any, y: Tensor) -> Tensor:
    """Return the output (B, T, D) of a mixer's map ``out`` for outputs of its heads (B, H, T, V)."""
    found: Tensor = mixer.out(merge_heads(y))
    return found


def equal_with_gradients(
    what: str, got: Tensor, expected: Tensor, inputs: Iterable[Tensor], tolerance: float = 1e-9
) -> None:
    """Check that two tensors agree, and that inputs get the same gradients through both."""
    inputs = list(inputs)
    close(what, got, expected, tolerance)
    mine, theirs = (
        torch.autograd.grad((y * weights_for(y)).sum(), inputs, retain_graph=True) for y in (got, expected)
    )
    for i, (one, other) in enumerate(zip(mine, theirs, strict=True)):
        close(f"{what}, gradient of input {i}", one, other, tolerance)


def no_leak(part: Callable[[Tensor], Tensor], x: Tensor, start: int) -> None:
    """Check that a change of the tokens from ``start`` on changes no earlier output, bit by bit.

    Args:
        x: (B, T, ...): floats, which are replaced by random ones, or token ids, each replaced by another one.
        start: the first token that is changed.
    """
    later = x[:, start:]
    other = torch.randn_like(later) if x.is_floating_point() else (later + 1) % (x.max() + 1)
    close("before the change", part(torch.cat([x[:, :start], other], 1))[:, :start], part(x)[:, :start], 0.0)


def permutes(part: Callable[[Tensor], Tensor], x: Tensor, tolerance: float = 1e-12) -> None:
    """Check that a part is equivariant to permutations of the tokens."""
    order = torch.randperm(x.shape[1])
    close("shuffled", part(x[:, order]), part(x)[:, order], tolerance)


def perturb(part: nn.Module, scale: float, among: Callable[[str], bool] = lambda name: True) -> None:
    """Add noise of standard deviation ``scale`` to the parameters whose names satisfy ``among``, in place.

    At initial values such as zero and one, many mistakes cancel.
    """
    with torch.no_grad():
        for name, p in part.named_parameters():
            if among(name):
                p.add_(scale * torch.randn_like(p))


def inputs_of(x: Tensor, mask: Tensor | None = None) -> Inputs:
    """Return the second argument of a mixer's ``_forward`` for x (B, T, D) with no input but a mask."""
    return Layout.of(x, mask).inputs(None, None, None, None, x.dtype)
