"""Checks and defaults of the arguments of sparse attention: numbers, global tokens and positions of both sides."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from anyformer.ops.attention.heads import check_heads, check_places
from anyformer.ops.attention.tiles import distance
from anyformer.ops.masks import MaskSpec
from anyformer.ops.sparse_attention.tokens import Grid, Side

Score = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor], Tensor]


def sides(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    spec: MaskSpec,
    q_index: Tensor | None,
    k_index: Tensor | None,
    global_mask: Tensor | None,
    q_pos: Tensor | None,
    k_pos: Tensor | None,
) -> tuple[Side, Side]:
    """Check the arguments and fill in the defaults; return the side of the queries and that of the keys."""
    check_heads(q, k, v)
    (B, _, T, _), S = q.shape, k.shape[2]
    if not isinstance(spec, MaskSpec):
        raise ValueError(f"spec must be a MaskSpec, got {type(spec).__name__}")
    if (q_index is None) != (k_index is None):
        raise ValueError("q_index and k_index must be given together")
    if q_index is None or k_index is None:
        if T > S:
            raise ValueError(
                f"without q_index there must be at least as many keys as queries, got {S} and {T}"
            )
        k_index = torch.arange(S, device=q.device).expand(B, S)
        q_index = k_index[:, S - T :]
    else:
        q_index, k_index = _check_index("q_index", q_index, (B, T)), _check_index("k_index", k_index, (B, S))
    no_token = torch.zeros(B, 1, dtype=torch.bool, device=q.device)
    if global_mask is None:
        q_global, k_global = no_token.expand(B, T), no_token.expand(B, S)
    else:
        k_global = _check_global(global_mask, (B, S), spec) & (k_index >= 0)
        q_global = _global_queries(q_index, k_index, k_global)
    for name, pos, shape in (("q_pos", q_pos, (B, T)), ("k_pos", k_pos, (B, S))):
        if pos is not None and pos.shape[:2] != shape:
            raise ValueError(f"{name} must have shape {(*shape, '...')}, got {tuple(pos.shape)}")
    return (
        Side(q_index, q_global, q_index if q_pos is None else q_pos),
        Side(k_index, k_global, k_index if k_pos is None else k_pos),
    )


def check_terms(q: Tensor, k: Tensor, score: Score | None, places: tuple[Tensor, Tensor] | None) -> None:
    """Raise ``ValueError`` unless score and places fit."""
    check_places(q, k, places)
    if score is not None and places is not None:
        raise ValueError("places and score must not be given together")


def _global_queries(q_index: Tensor, k_index: Tensor, k_global: Tensor) -> Tensor:
    """Return the queries whose key is global, (B, T) bool."""
    if 0 in (*q_index.shape, *k_index.shape):
        return torch.zeros_like(q_index, dtype=torch.bool)
    grid = Grid.of(k_index, 1, k_index.shape[1])
    slots = grid.at((q_index - grid.base[:, None])[:, None]).reshape(q_index.shape)
    return k_global.gather(1, slots.clamp_min(0)) & (slots >= 0) & (q_index >= 0)


def _check_index(name: str, index: Tensor, shape: tuple[int, int]) -> Tensor:
    if tuple(index.shape) != shape or index.dtype.is_floating_point or index.dtype == torch.bool:
        raise ValueError(f"{name} must be integers of shape {shape}, got {tuple(index.shape)} {index.dtype}")
    if not torch.compiler.is_compiling() and index.numel():
        ordered = index.sort(1).values
        if ((ordered.diff(dim=1) != 1) & (ordered[:, :-1] >= 0)).any():
            raise ValueError(f"{name} must number the tokens of each sample consecutively (-1 = none)")
    return index.long()


def _check_global(global_mask: Tensor, shape: tuple[int, int], spec: MaskSpec) -> Tensor:
    if tuple(global_mask.shape) != shape or global_mask.dtype != torch.bool:
        got = f"{tuple(global_mask.shape)} {global_mask.dtype}"
        raise ValueError(f"global_mask must be bool of shape {shape}, got {got}")
    limits = [product.limit for product in spec.products() if product.limit is not None]
    if limits and not torch.compiler.is_compiling() and global_mask.numel():
        most = int(global_mask.sum(1).max())
        if most > min(limits):
            raise ValueError(
                f"global_mask must mark at most {min(limits)} tokens a sample (limit), got {most}"
            )
    return global_mask


def scored(
    q: Tensor,
    k: Tensor,
    q_side: Side,
    k_side: Side,
    score: Score | None,
    places: tuple[Tensor, Tensor] | None,
) -> tuple[Side, Side, Score | None]:
    """Return both sides with places for positions, and the score that subtracts their distance."""
    if places is None:
        return q_side, k_side, score
    (B, H, T, _), S = q.shape, k.shape[2]
    q_pos = places[0].expand(B, H, T).transpose(1, 2)
    k_pos = places[1].expand(B, H, S).transpose(1, 2)

    def fall(s: Tensor, q: Tensor, k: Tensor, q_pos: Tensor, k_pos: Tensor) -> Tensor:
        return s - distance(q_pos.transpose(1, 2), k_pos.transpose(1, 2)).to(s.dtype)

    return q_side._replace(pos=q_pos), k_side._replace(pos=k_pos), fall
