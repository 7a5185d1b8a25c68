"""The paths of attention, in order of preference, and their reasons to refuse."""

from __future__ import annotations

import warnings
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from anyformer import kernels
from anyformer.ops._gate import Path, Paths
from anyformer.ops.attention import tiles
from anyformer.ops.attention.heads import score_scale
from anyformer.ops.attention.spans import attend, refuses_spans
from anyformer.ops.attention.tiles import Score, Weigh, by_query_blocks, distance
from anyformer.precision import wide


class Terms(NamedTuple):
    """The keyword arguments of :func:`attention`; ``visible`` and ``bias`` padded to four axes, ``places`` expanded."""

    causal: bool
    visible: Tensor | None
    bias: Tensor | None
    places: tuple[Tensor, Tensor] | None
    scale: float | None
    score: Score | None
    normalizer: str
    weigh: Weigh | None
    return_lse: bool

    @property
    def plain(self) -> bool:
        """True if this is softmax with no mask, bias or function of the scores; causality and places may be there."""
        given = self.visible is None and self.bias is None and self.score is None and self.weigh is None
        return given and self.normalizer == "softmax"


# ---- one query, and PyTorch's fused kernel ----------------------------------------------------------------------


def _refuses_token(q: Tensor, k: Tensor, v: Tensor, terms: Terms) -> str | None:
    if q.shape[2] != 1:
        return "for a single query only"
    causal, visible, bias, places, _, score, normalizer, weigh, return_lse = terms
    if return_lse or normalizer != "softmax" or not (visible is bias is places is score is weigh is None):
        return "plain softmax only"
    return None if q.shape[1] == k.shape[1] and q.shape[3] == v.shape[3] else "heads or widths differ"


def _token(q: Tensor, k: Tensor, v: Tensor, terms: Terms) -> Tensor:
    return fused(q, k, v, scale=terms.scale)


def fused(q: Tensor, k: Tensor, v: Tensor, **options: Any) -> Tensor:
    """Run PyTorch's fused attention, which has no second derivative: warn where one is taken."""
    y = F.scaled_dot_product_attention(q, k, v, **options)
    if y.requires_grad and not torch.compiler.is_compiling() and torch.backends.cuda.flash_sdp_enabled():
        y.register_hook(_say_how)
    return y


def _say_how(grad: Tensor) -> None:
    if torch.is_grad_enabled():
        warnings.warn(
            "attention: PyTorch's fused kernel has no second derivative; for the gradient of a gradient, run the "
            "forward under `anyformer.ops.use_definition()` (slow) or "
            "`torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH)`",
            stacklevel=2,
        )


def _refuses_fused(q: Tensor, k: Tensor, v: Tensor, terms: Terms) -> str | None:
    if terms.normalizer != "softmax" or terms.score is not None or terms.weigh is not None:
        return "softmax only, without a function of the scores or weights"
    if terms.return_lse or terms.places is not None:
        return "it returns no log-sum-exp and does not support places"
    if q.shape[3] != v.shape[3] and q.device.type == "cpu":
        return "on a CPU, keys and values of different widths would make it hold all T * S scores"
    if terms.bias is not None and (terms.bias.requires_grad or terms.bias.dtype != q.dtype):
        return "a bias must have q's dtype and need no gradient"
    return _refuses_mask(q, k, terms)


def _refuses_mask(q: Tensor, k: Tensor, terms: Terms) -> str | None:
    """Return why the mask that it needs would be too large, or None where it needs none or a small one."""
    T, S, why = q.shape[2], k.shape[2], "the mask of all pairs would be large"
    given = [x for x in (terms.visible, terms.bias) if x is not None]
    if len(given) + terms.causal < 2:
        fits = not (terms.causal and T not in (1, S)) or T * S <= tiles.TILE_ELEMENTS
        return None if fits else why
    shapes = [x.shape for x in given] + ([torch.Size((1, 1, T, S))] if terms.causal else [])
    return None if torch.broadcast_shapes(*shapes).numel() <= tiles.TILE_ELEMENTS else why


def _fused(q: Tensor, k: Tensor, v: Tensor, terms: Terms) -> Tensor:
    (B, H, T, K), (_, G, S, _), V = q.shape, k.shape, v.shape[3]
    scale = score_scale(terms.scale, K)
    mask, causal = _fused_mask(q, S, terms.causal, terms.visible, terms.bias)
    blind = None if mask is None or not q.is_cuda else _blind(mask)
    if blind is not None:  # CUDA's kernels differ in their output for a query that sees nothing
        assert mask is not None
        mask = mask | blind if mask.dtype == torch.bool else mask.masked_fill(blind, 0.0)
    if T == 1 and H != G and (mask is None or mask.shape[1] == 1):
        grouped = q.reshape(
            B, G, H // G, -1
        )  # heads of a group become queries, so that keys are not repeated
        y = fused(grouped, k, v, attn_mask=mask, scale=scale).reshape(B, H, 1, V)
    else:
        y = fused(q, k, v, attn_mask=mask, scale=scale, is_causal=causal, enable_gqa=H != G)
    return y if blind is None else y.masked_fill(blind, 0.0)


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
    """Return the queries that see no key, (..., T, 1) bool."""
    sees = mask if mask.dtype == torch.bool else mask > -torch.inf
    return ~sees.any(-1, keepdim=True)


# ---- the native kernel ------------------------------------------------------------------------------------------


def _refuses_native(q: Tensor, k: Tensor, v: Tensor, terms: Terms) -> str | None:
    if not terms.plain:
        return "plain softmax only, causal or over all keys"
    needed = q.shape[2] > 1 and (terms.return_lse or terms.places is not None)
    why = None if needed else _slower(q, k)
    return refuses_spans(q, k, v) if why is None else why


def _slower(q: Tensor, k: Tensor) -> str | None:
    """Return why PyTorch's fused kernel is faster here, where both could run; None where the native one is.

    As measured: with 64-byte vectors the native kernel is 1.1 to 2.2 times as fast, but for small problems. With
    shorter vectors PyTorch's matrix products are at least as fast, as they are in bfloat16 on CPUs with a unit for it.
    """
    (B, H, T, _), S = q.shape, k.shape[2]
    if T < 32 or B * H * T * S < 2**19:
        return "PyTorch's fused kernel is faster for small problems"
    library, why = kernels.status()
    if library != "avx512":
        return (
            why if library is None else "PyTorch's fused kernel is faster with vectors of less than 64 bytes"
        )
    narrow = wide(q.dtype) != q.dtype and _has_matrix_unit()
    return "PyTorch's fused kernel uses this CPU's bfloat16 unit" if narrow else None


@kernels.constant
def _has_matrix_unit() -> bool:
    return torch.cpu._is_amx_tile_supported()


def _native(q: Tensor, k: Tensor, v: Tensor, terms: Terms) -> Any:
    spans = _spans(q.shape[2], k.shape[2], terms.causal)
    y, lse = attend(q, k, v, spans, places=terms.places, scale=score_scale(terms.scale, q.shape[3]))
    return (y, lse) if terms.return_lse else y


def _spans(T: int, S: int, causal: bool) -> Tensor:
    """Return each query's span of the keys, all or those up to it, as :func:`attend` expects them."""
    last = (
        torch.arange(S - T + 1, S + 1, dtype=torch.int32)
        if causal
        else torch.full((T,), S, dtype=torch.int32)
    )
    zero = torch.zeros_like(last)
    return torch.stack([zero, last, zero, zero], -1)[None]


# ---- tiles --------------------------------------------------------------------------------------------------------


def _refuses_near(q: Tensor, k: Tensor, v: Tensor, terms: Terms) -> str | None:
    if terms.places is None:
        return "for places only"
    B, H, T, _ = q.shape
    return None if B * H * T * k.shape[2] <= tiles.TILE_ELEMENTS else "the bias of all pairs would be large"


def _near(q: Tensor, k: Tensor, v: Tensor, terms: Terms) -> Any:
    assert terms.places is not None
    near = -distance(*terms.places).to(wide(q.dtype))
    bias = near if terms.bias is None else terms.bias + near
    return PATHS(q, k, v, terms._replace(bias=bias, places=None))


def _blocks(q: Tensor, k: Tensor, v: Tensor, terms: Terms) -> Any:
    scale = score_scale(terms.scale, q.shape[3])
    y, lse = by_query_blocks(
        q,
        k,
        v,
        terms.causal,
        terms.visible,
        terms.bias,
        terms.places,
        terms.score,
        scale,
        terms.normalizer,
        terms.weigh,
    )
    return (y, lse) if terms.return_lse else y


PATHS = Paths(
    "attention",
    Path("fused token", "PyTorch's fused kernel, for one query of a stream", _token, _refuses_token),
    Path("native", "in C, tiles in cache", _native, _refuses_native),
    Path("bias", "distances between places as a bias, then one of the paths below", _near, _refuses_near),
    Path("scaled_dot_product_attention", "PyTorch's fused kernel", _fused, _refuses_fused),
    Path("blocks", "blocks of queries in PyTorch, recomputed in the backward", _blocks),
)
