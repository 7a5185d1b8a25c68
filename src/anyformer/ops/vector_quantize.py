"""Vector quantisation: each vector is replaced by the nearest entry of a codebook.

code = argmin_j |x - c_j|^2. The quantised vector c_code passes its gradient to x unchanged (straight-through). The
caller adds the commitment loss |x - c_code|^2, which pulls x to its entry, and updates the entries by running means
(van den Oord 2017, arXiv 1711.00937, eq. 3 and appendix A.1).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from anyformer.ops._base import primitive
from anyformer.ops._gate import Path, Paths
from anyformer.precision import common, no_autocast


class Quantized(NamedTuple):
    """The codes (...,) int64, and the quantised vectors (..., K)."""

    codes: Tensor
    vectors: Tensor


def vector_quantize_definition(x: Tensor, codebook: Tensor) -> Quantized:
    """Every distance; see :func:`vector_quantize`."""
    _check(x, codebook)
    float_ = common(x, codebook)
    distances = [(x.to(float_) - entry.to(float_)).square().sum(-1) for entry in codebook]
    codes = torch.stack(distances, -1).argmin(-1)
    return Quantized(codes, _straight_through(x, codebook[codes]))


def vector_quantize_flops(x: Tensor, codebook: Tensor) -> int:
    """Return the FLOPs of the products of all vectors with all entries."""
    return 2 * x.numel() * codebook.shape[0]


@primitive(
    "vector_quantize",
    definition=vector_quantize_definition,
    flops=vector_quantize_flops,
)
def vector_quantize(x: Tensor, codebook: Tensor) -> Quantized:
    """Find the nearest entry of a codebook for each vector.

    Args:
        x: (..., K). codebook: (N, K).

    Returns:
        codes (...,) int64 and the quantised vectors (..., K), in the dtype of x, with the gradient of x.

    Raises:
        ValueError: if the shapes don't fit.
    """
    _check(x, codebook)
    found: Quantized = _PATHS(x, codebook)
    return found


def _by_product(x: Tensor, codebook: Tensor) -> Quantized:
    with no_autocast(x):
        float_ = common(x, codebook)
        entries = codebook.to(float_)
        codes = (x.detach().to(float_) @ entries.mT - entries.square().sum(-1) / 2).argmax(-1)
        return Quantized(codes, _straight_through(x, codebook[codes]))


_PATHS = Paths(
    "vector_quantize",
    Path("matmul", "distances by one matrix product, without the vectors' own lengths", _by_product),
)


def _straight_through(x: Tensor, entries: Tensor) -> Tensor:
    """Return ``entries`` with the gradient of x."""
    return x + (entries.to(x.dtype) - x).detach()


def _check(x: Tensor, codebook: Tensor) -> None:
    if codebook.dim() != 2 or codebook.shape[0] < 1:
        raise ValueError(f"codebook must have shape (N, K) with N at least 1, got {tuple(codebook.shape)}")
    if x.dim() < 1 or x.shape[-1] != codebook.shape[1]:
        raise ValueError(f"x must have shape (..., {codebook.shape[1]}), got {tuple(x.shape)}")
