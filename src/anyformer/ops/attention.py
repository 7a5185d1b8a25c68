"""Attention of the softmax family, and the merging of partial softmaxes.

s_ij = scale * q_i . k_j + bias_ij        p_i = normalizer(s_i over the visible j)        y_i = sum_j p_ij v_j
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from anyformer.ops._attend import attend, beats_fused, fused, nothing_seen, score_scale
from anyformer.ops._attend import can_attend as can_attend
from anyformer.ops._base import ALONG_TIME, Path, primitive
from anyformer.precision import no_autocast, wide

TILE_ELEMENTS = 2**21
"""Score elements that are held at once; longer inputs go through in blocks, recomputed in the backward."""


Weigh = Callable[[Tensor, int], tuple[Tensor, Tensor | None]]
Score = Callable[[Tensor], Tensor]

# ---- normalisers --------------------------------------------------------------------------------------------
# Scores, -inf where hidden, to (weights, their divisor or None, log-sum-exp or None). Dividing after the product
# with the values is cheaper.

Normalized = tuple[Tensor, Tensor | None, Tensor | None]


def _softmax(scores: Tensor) -> Normalized:
    top = scores.detach().amax(-1, keepdim=True)
    top = top.masked_fill(top == -torch.inf, 0.0)
    weights = (scores - top).exp_()
    total = weights.sum(-1, keepdim=True)
    empty = total == 0
    total = total.masked_fill(empty, 1.0)
    lse = (total.log() + top).masked_fill(empty, -torch.inf)
    return weights, total, lse[..., 0]


def _sigmoid(scores: Tensor) -> Normalized:
    return scores.sigmoid(), None, None


def _laplace(scores: Tensor) -> Normalized:
    """Of the normal distribution of mean sqrt(1/2) and variance 1 / (4 pi), where it meets relu(x)^2 and its slope."""
    return torch.special.ndtr((scores - math.sqrt(0.5)) * math.sqrt(4 * math.pi)), None, None


def _softmax_one(scores: Tensor) -> Normalized:
    top = scores.detach().amax(-1, keepdim=True).clamp_min(0.0)
    weights = (scores - top).exp_()
    return weights, weights.sum(-1, keepdim=True) + (-top).exp(), None


NORMALIZERS: dict[str, Callable[[Tensor], Normalized]] = {
    "softmax": _softmax,
    "sigmoid": _sigmoid,
    "laplace": _laplace,
    "softmax_one": _softmax_one,
}


# ---- definition -----------------------------------------------------------------------------------------------


def attention_definition(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    causal: bool = False,
    visible: Tensor | None = None,
    bias: Tensor | None = None,
    places: tuple[Tensor, Tensor] | None = None,
    scale: float | None = None,
    score: Score | None = None,
    normalizer: str = "softmax",
    weigh: Weigh | None = None,
    return_lse: bool = False,
) -> Any:
    """The formula, one query at a time. Arguments as in :func:`attention`."""
    _check(q, k, v, causal, visible, bias, places, normalizer, return_lse)
    (B, H, T, K), S = q.shape, k.shape[2]
    dtype, repeat = wide(q.dtype), H // k.shape[1]
    keys = k.to(dtype).repeat_interleave(repeat, 1)
    values = v.to(dtype).repeat_interleave(repeat, 1)
    sees = torch.ones(B, H, T, S, dtype=torch.bool, device=q.device)
    if causal:
        sees = sees.tril(S - T)
    if visible is not None:
        sees = sees & visible
    terms = torch.zeros((), dtype=dtype, device=q.device) if bias is None else bias.to(dtype)
    if places is not None:
        terms = terms - distance(*places).to(dtype)
    terms = terms.expand(B, H, T, S)
    outputs, lses = [], []
    for t in range(T):
        scores = (
            torch.einsum("bhk,bhsk->bhs", q[:, :, t].to(dtype), keys) * score_scale(scale, K) + terms[:, :, t]
        )
        scores = scores if score is None else score(scores)
        scores = scores.masked_fill(~sees[:, :, t], -torch.inf)
        shift = torch.zeros_like(scores[..., :1]) if S == 0 else scores.detach().amax(-1, keepdim=True)
        shift = shift.masked_fill(shift == -torch.inf, 0.0)
        if normalizer == "sigmoid":
            weights = scores.sigmoid()
        elif normalizer == "laplace":
            weights = 0.5 * (1 + torch.erf((scores - 0.5**0.5) / (0.5 / math.pi) ** 0.5))
        else:
            weights = (scores - shift).exp()
            total = weights.sum(-1, keepdim=True)
            if normalizer == "softmax_one":
                total = total + (-shift).exp()
            weights = weights / torch.where(total > 0, total, 1.0)
        added: Tensor | None = None
        if weigh is not None:
            weights, added = weigh(weights[:, :, None], t)
            weights = weights[:, :, 0]
        parts = weights[..., None] * values
        if weigh is None:  # a key that is not seen is not there, whatever its value
            parts = parts.masked_fill(~sees[:, :, t, :, None], 0.0)
        outputs.append(parts.sum(2))
        if added is not None:
            outputs[-1] = outputs[-1] + added[:, :, 0]
        nothing = (scores == -torch.inf).all(-1, keepdim=True)
        lses.append(scores.masked_fill(nothing, 0.0).logsumexp(-1).masked_fill(nothing[..., 0], -torch.inf))
    if T == 0:
        return nothing_seen(q, k, v, return_lse)
    y = torch.stack(outputs, 2).to(q.dtype)
    return (y, torch.stack(lses, 2)) if return_lse else y


# ---- fast form ------------------------------------------------------------------------------------------------


def _flops(q: Tensor, k: Tensor, v: Tensor, *, causal: bool = False, **_: Any) -> int:
    (B, H, T, K), S, V = q.shape, k.shape[2], v.shape[3]
    pairs = T * S - T * (T - 1) // 2 if causal else T * S
    return 2 * B * H * pairs * (K + V)


def _path(device: str, dtype: torch.dtype) -> Path:
    return Path(
        "scaled_dot_product_attention",
        "PyTorch's fused kernel; the native one of sparse_attention where it is there and faster; blocks of "
        "queries for other normalisers, functions of the scores and the gradient of a bias",
    )


@primitive("attention", definition=attention_definition, flops=_flops, path=_path, spread=ALONG_TIME)
def attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    causal: bool = False,
    visible: Tensor | None = None,
    bias: Tensor | None = None,
    places: tuple[Tensor, Tensor] | None = None,
    scale: float | None = None,
    score: Score | None = None,
    normalizer: str = "softmax",
    weigh: Weigh | None = None,
    return_lse: bool = False,
) -> Any:
    """Dense attention; time T*S, memory linear in T and S.

    Args:
        q: (B, H, T, K).
        k: (B, G, S, K), v: (B, G, S, V). H must be a multiple of G: heads share keys and values in groups.
        causal: the last query is aligned with the last key and no query sees a later key; needs S >= T.
        visible: bool, broadcastable to (B, H, T, S), True = may see.
        bias: float, broadcastable to (B, H, T, S), added to the scaled scores.
        places: float64 (or float32 where the device has no other), (B, H, T) of the queries and (B, H, S) of the
            keys, or broadcastable to them: |place_i - place_j| is taken from the scaled scores.
        scale: of the scores; 1 / sqrt(K) by default.
        score: a function of the scores, what was added to them included, element by element. It is called on tiles.
        normalizer: ``"softmax"`` (arXiv 1706.03762); ``"softmax_one"`` (softmax with one more, empty, key of score
            0); or of each score alone, ``"sigmoid"`` (arXiv 2409.04431) and ``"laplace"`` (a normal distribution
            function, arXiv 2209.10655, eq. 16).
        weigh: ``weigh(p, start) -> (weights, more)`` changes the probabilities p (B, H, C, S') of the queries from
            ``start`` on and the first keys into the weights of the values, and may add ``more`` (B, H, C, V) to the
            outputs. It is called on tiles.
        return_lse: also return the log-sum-exp of each query's scores (softmax only), for :func:`merge`.

    Returns:
        y (B, H, T, V) in q's dtype, or (y, lse) with lse (B, H, T) in at least float32. A query that sees
        nothing gets zeros and -inf.

    Raises:
        ValueError: for shapes that don't fit and unknown normalisers.
    """
    _check(q, k, v, causal, visible, bias, places, normalizer, return_lse)
    (B, H, T, K), (_, G, S, _), V = q.shape, k.shape, v.shape[3]
    if T * S * B == 0:
        return nothing_seen(q, k, v, return_lse)
    plain = normalizer == "softmax" and visible is None and bias is None and score is None and weigh is None
    if plain and T == 1 and (G, V) == (H, K) and places is None and not return_lse:  # a token of a stream
        return fused(q, k, v, scale=scale)
    visible, bias = _four_axes(visible), _four_axes(bias)
    if places is not None:
        places = places[0].expand(B, H, T), places[1].expand(B, H, S)
    asked = T > 1 and (return_lse or places is not None)
    if plain and (asked or beats_fused(q, k)) and can_attend(q, k, v):
        spans = _spans(T, S, causal)
        y, lse = attend(q, k, v, spans, places=places, scale=score_scale(scale, K))
        return (y, lse) if return_lse else y
    if places is not None and B * H * T * S <= TILE_ELEMENTS:
        near = -distance(*places).to(wide(q.dtype))
        bias, places = near if bias is None else bias + near, None
    other = normalizer != "softmax" or return_lse
    other = other or places is not None or score is not None or weigh is not None
    if not other and _can_fuse(q, v, S, causal, visible, bias):
        mask, causal_flag = _fused_mask(q, S, causal, visible, bias)
        blind = None if mask is None or not q.is_cuda else _blind(mask)
        if blind is not None:  # CUDA's kernels differ in what they give a query that sees nothing
            assert mask is not None
            mask = mask | blind if mask.dtype == torch.bool else mask.masked_fill(blind, 0.0)
        if T == 1 and H != G and (mask is None or mask.shape[1] == 1):
            grouped = q.reshape(B, G, H // G, -1)  # heads of a group as queries: its keys are not repeated
            y = fused(grouped, k, v, attn_mask=mask, scale=score_scale(scale, q.shape[3]))
            y = y.reshape(B, H, 1, V)
        else:
            more = {"is_causal": causal_flag, "enable_gqa": H != G}
            y = fused(q, k, v, attn_mask=mask, scale=score_scale(scale, q.shape[3]), **more)
        return y if blind is None else y.masked_fill(blind, 0.0)
    scale = score_scale(scale, q.shape[3])
    parts = _by_query_blocks(q, k, v, causal, visible, bias, places, score, scale, normalizer, weigh)
    return parts if return_lse else parts[0]


def distance(q_place: Tensor, k_place: Tensor) -> Tensor:
    """(B, H, T, S): |q_place_i - k_place_j|."""
    return (q_place[..., :, None] - k_place[..., None, :]).abs()


def _spans(T: int, S: int, causal: bool) -> Tensor:
    """All keys, or those up to the query, as :func:`attend` wants them."""
    last = (
        torch.arange(S - T + 1, S + 1, dtype=torch.int32)
        if causal
        else torch.full((T,), S, dtype=torch.int32)
    )
    zero = torch.zeros_like(last)
    return torch.stack([zero, last, zero, zero], -1)[None]


def merge(parts: Sequence[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """Attention over a union of disjoint key sets, from the attention over each.

    Associative and commutative; a part that saw nothing (lse = -inf) changes nothing.

    Args:
        parts: pairs (y (B, H, T, V), lse (B, H, T)), as :func:`attention` returns them.

    Returns:
        (y, lse) of the union, y in the dtype of the first part.

    Raises:
        ValueError: if ``parts`` is empty.
    """
    if not parts:
        raise ValueError("parts must hold at least one (y, lse), got none")
    if len(parts) == 1:
        return parts[0]
    lses = torch.stack([lse for _, lse in parts])
    top = lses.detach().amax(0)
    top = top.masked_fill(top == -torch.inf, 0.0)
    weights = (lses - top).exp()
    total = weights.sum(0)
    empty = total == 0
    total = total.masked_fill(empty, 1.0)
    share = weights / total
    y = share[0][..., None] * parts[0][0]
    for part, (other, _) in zip(share[1:], parts[1:], strict=True):
        y = y + part[..., None] * other
    return y.to(parts[0][0].dtype), (total.log() + top).masked_fill(empty, -torch.inf)


def attend_tile(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    visible: Tensor | None,
    scale: float,
    normalizer: str = "softmax",
    adjust: Callable[[Tensor], Tensor] | None = None,
    weigh: Callable[[Tensor], tuple[Tensor, Tensor | None]] | None = None,
) -> tuple[Tensor, Tensor | None]:
    """One tile of queries against one of keys, dense: (y, lse).

    ``adjust`` may change the scores (B, H, T, S), ``weigh`` the probabilities, as in :func:`attention`.
    """
    (B, H, T, K), (_, G, S, _), V = q.shape, k.shape, v.shape[3]
    if S == 0:
        return nothing_seen(q, k, v, True)
    dtype = wide(q.dtype)
    with no_autocast(q):
        grouped = (q.to(dtype) * scale).reshape(B, G, H // G * T, K)
        scores = (grouped @ k.to(dtype).transpose(2, 3)).reshape(B, H, T, S)
        if adjust is not None:
            scores = adjust(scores)
        if visible is not None:
            scores = scores.masked_fill(~visible, -torch.inf)
        weights, total, lse = NORMALIZERS[normalizer](scores)
        more = None
        if weigh is not None:
            weights, more = weigh(weights if total is None else weights / total)
            total = None
        y = (weights.reshape(B, G, H // G * T, S) @ v.to(dtype)).reshape(B, H, T, V)
        y = y if total is None else y / total
        y = y if more is None else y + more
    return y.to(q.dtype), lse


def recomputed(function: Callable[..., Any], *args: Any) -> Any:
    """``function(*args)``, keeping only its inputs for the backward."""
    if not torch.is_grad_enabled():
        return function(*args)
    return checkpoint(function, *args, use_reentrant=False, preserve_rng_state=False)


def _by_query_blocks(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    causal: bool,
    visible: Tensor | None,
    bias: Tensor | None,
    places: tuple[Tensor, Tensor] | None,
    score: Score | None,
    scale: float,
    normalizer: str,
    weigh: Weigh | None,
) -> tuple[Tensor, Tensor | None]:
    (B, H, T, _), S = q.shape, k.shape[2]
    rows = max(1, min(T, TILE_ELEMENTS // (B * H * S)))

    def block(q: Tensor, k: Tensor, v: Tensor, start: int) -> tuple[Tensor, Tensor | None]:
        stop, seen = start + q.shape[2], k.shape[2]
        sees = _tile_of(visible, start, stop, seen)
        if causal:
            last = torch.arange(start, stop, device=q.device)[:, None] + (S - T)
            earlier = torch.arange(seen, device=q.device) <= last
            sees = earlier if sees is None else sees & earlier
        terms = _tile_of(bias, start, stop, seen)

        def adjust(scores: Tensor) -> Tensor:
            if terms is not None:
                scores = scores + terms.to(scores.dtype)
            if places is not None:
                far = distance(places[0][:, :, start:stop], places[1][:, :, :seen])
                scores = scores - far.to(scores.dtype)
            return scores if score is None else score(scores)

        change = None if weigh is None else (lambda p: weigh(p, start))
        return attend_tile(q, k, v, sees, scale, normalizer, adjust, change)

    parts = []
    for start, queries in zip(range(0, T, rows), q.split(rows, 2), strict=True):
        seen = S - T + start + queries.shape[2] if causal else S
        tile = (queries, k[:, :, :seen], v[:, :, :seen], start)
        parts.append(block(*tile) if rows >= T else recomputed(block, *tile))
    if len(parts) == 1:
        return parts[0]
    lses = [lse for _, lse in parts if lse is not None]
    return torch.cat([y for y, _ in parts], 2), torch.cat(lses, 2) if lses else None


def _tile_of(x: Tensor | None, start: int, stop: int, seen: int) -> Tensor | None:
    if x is None:
        return None
    x = x if x.shape[2] == 1 else x[:, :, start:stop]
    return x if x.shape[3] == 1 else x[..., :seen]


def _can_fuse(
    q: Tensor, v: Tensor, S: int, causal: bool, visible: Tensor | None, bias: Tensor | None
) -> bool:
    if q.shape[3] != v.shape[3] and q.device.type == "cpu":
        return False  # the fused CPU kernel wants one width, and the fallback holds all T * S scores
    if bias is not None and (bias.requires_grad or bias.dtype != q.dtype):
        return False
    given = [x for x in (visible, bias) if x is not None]
    if len(given) + causal < 2:
        return not (causal and q.shape[2] not in (1, S)) or q.shape[2] * S <= TILE_ELEMENTS
    shapes = [x.shape for x in given] + ([torch.Size((1, 1, q.shape[2], S))] if causal else [])
    return torch.broadcast_shapes(*shapes).numel() <= TILE_ELEMENTS


def _fused_mask(
    q: Tensor, S: int, causal: bool, visible: Tensor | None, bias: Tensor | None
) -> tuple[Tensor | None, bool]:
    T = q.shape[2]
    if causal and T > 1:
        if visible is None and bias is None and T == S:
            return None, True
        earlier = torch.ones(1, 1, T, S, dtype=torch.bool, device=q.device).tril(S - T)
        visible = earlier if visible is None else visible & earlier
    if bias is None or visible is None:
        return (visible if bias is None else bias), False
    return torch.where(visible, bias, -torch.inf), False


def _blind(mask: Tensor) -> Tensor:
    """Which queries see nothing, (..., T, 1)."""
    sees = mask if mask.dtype == torch.bool else mask > -torch.inf
    return ~sees.any(-1, keepdim=True)


def _four_axes(x: Tensor | None) -> Tensor | None:
    return None if x is None else x.reshape((1,) * (4 - x.dim()) + x.shape)


def _check(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    causal: bool,
    visible: Tensor | None,
    bias: Tensor | None,
    places: tuple[Tensor, Tensor] | None,
    normalizer: str,
    return_lse: bool,
) -> None:
    check_heads(q, k, v)
    shape = (*q.shape[:3], k.shape[2])
    check_places(q, k, places)
    if causal and shape[2] > shape[3]:
        raise ValueError(
            f"causal needs at least as many keys as queries, got {shape[3]} keys, {shape[2]} queries"
        )
    for name, x in (("visible", visible), ("bias", bias)):
        if x is None:
            continue
        if x.dim() > 4 or any(
            a not in (1, b) for a, b in zip(reversed(x.shape), reversed(shape), strict=False)
        ):
            raise ValueError(f"{name} must be broadcastable to {shape}, got {tuple(x.shape)}")
    if visible is not None and visible.dtype != torch.bool:
        raise ValueError(f"visible must be bool, got {visible.dtype}")
    if normalizer not in NORMALIZERS:
        raise ValueError(f"normalizer must be one of {', '.join(NORMALIZERS)}; got {normalizer!r}")
    if return_lse and normalizer != "softmax":
        raise ValueError(f"return_lse needs normalizer='softmax', got {normalizer!r}")


def check_places(q: Tensor, k: Tensor, places: tuple[Tensor, Tensor] | None) -> None:
    """ValueError unless there are none, or they broadcast to (B, H, T) and (B, H, S)."""
    if places is None:
        return
    B, H, T, _ = q.shape
    for whose, place, length in zip(("queries", "keys"), places, (T, k.shape[2]), strict=True):
        fits = place.dim() == 3 and all(a in (1, b) for a, b in zip(place.shape, (B, H, length), strict=True))
        if not fits or place.shape[2] != length or not place.dtype.is_floating_point:
            got = f"{tuple(place.shape)} {place.dtype}"
            raise ValueError(f"places of the {whose} must be floats of shape {(B, H, length)}, got {got}")


def check_heads(q: Tensor, k: Tensor, v: Tensor) -> None:
    """ValueError unless q (B, H, T, K), k (B, G, S, K), v (B, G, S, V) with H a multiple of G."""
    for name, x in (("q", q), ("k", k), ("v", v)):
        if x.dim() != 4:
            raise ValueError(
                f"{name} must have 4 axes (batch, heads, time, width), got shape {tuple(x.shape)}"
            )
    (B, H, _, K), G = q.shape, k.shape[1]
    if k.shape[0] != B or k.shape[3] != K:
        raise ValueError(f"k must have shape ({B}, heads, keys, {K}) to fit q, got {tuple(k.shape)}")
    if K == 0:
        raise ValueError(f"q must have a width of at least 1, got shape {tuple(q.shape)}")
    if v.shape[:3] != k.shape[:3] or v.shape[3] == 0:
        raise ValueError(f"v must have shape {(*k.shape[:3], 'width')} to fit k, got {tuple(v.shape)}")
    if G == 0 or H % G:
        raise ValueError(f"q must have a multiple of k's {G} heads, got {H}")
