"""Convolution with a kernel as long as the sequence, or the grid: y_t = sum_s kernel_{t-s} x_s.

The fast form multiplies spectra: O(T log T) time, O(T) memory.
"""

from __future__ import annotations

import math
from itertools import product
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from anyformer.ops._base import Spread, primitive
from anyformer.ops._gate import Path, Paths
from anyformer.precision import no_autocast, wide

DIRECT = 8  # below so many new positions, outputs are computed as dot products


def long_conv_definition(
    x: Tensor, kernel: Tensor, *, causal: bool = True, skip: Tensor | None = None, past: Tensor | None = None
) -> Tensor:
    """The double sum; see :func:`long_conv`."""
    dtype = x.dtype
    x, kernel, skip, P = _prepare(x, kernel, causal, skip, past)
    lags, centre = kernel.shape[-1], 0 if causal else kernel.shape[-1] // 2
    outputs = []
    for t in range(P, x.shape[-1]):
        y = x.new_zeros(x.shape[:-1]) if skip is None else skip * x[..., t]
        for s in range(x.shape[-1]):
            lag = t - s + centre
            if 0 <= lag < lags:
                y = y + kernel[:, lag] * x[..., s]
        outputs.append(y)
    return (torch.stack(outputs, -1) if outputs else _nothing(x[..., P:], kernel)).to(dtype)


def long_conv_flops(
    x: Tensor, kernel: Tensor, *, causal: bool = True, skip: Tensor | None = None, past: Tensor | None = None
) -> int:
    """Three real transforms of n (2.5 n log2 n each) and the product of spectra; or the dot products."""
    B, D, T = x.shape
    length = T + (0 if past is None else past.shape[-1])
    if causal and T < DIRECT:
        return 2 * B * D * T * min(length, kernel.shape[-1])
    n = length + min(kernel.shape[-1], 2 * length)
    return int(2.5 * n * max(n.bit_length() - 1, 1)) * (2 * B * D + D) + 3 * n * B * D


@primitive(
    "long_conv",
    definition=long_conv_definition,
    flops=long_conv_flops,
    spread=Spread((2,), "a transform mixes all positions"),
)
def long_conv(
    x: Tensor, kernel: Tensor, *, causal: bool = True, skip: Tensor | None = None, past: Tensor | None = None
) -> Tensor:
    """Convolve each channel of x with its own kernel.

    Args:
        x: (B, D, T).
        kernel: (D, L), of lags 0 .. L - 1; with ``causal=False`` L is odd and lag zero in the middle.
        causal: y_t = sum_{s <= t} kernel[t - s] x_s, or over all s with |t - s| <= (L - 1) / 2.
        skip: (D,), adds skip * x.
        past: (B, D, P), inputs before x, for streaming; outputs are returned for x only. Causal only.

    Returns:
        y (B, D, T), in the dtype of x.

    Raises:
        ValueError: if shapes don't fit.
    """
    with no_autocast(x):
        dtype = x.dtype
        x, kernel, skip, P = _prepare(x, kernel, causal, skip, past)
        T = x.shape[-1] - P
        if x[..., P:].numel() == 0:  # empty, which FFTs refuse
            return _nothing(x[..., P:], kernel).to(dtype)
        y = _PATHS(x, kernel, causal, T)
        if skip is not None:
            y = y + skip[:, None] * x[..., P:]
        return y.to(dtype)


def _prepare(
    x: Tensor, kernel: Tensor, causal: bool, skip: Tensor | None, past: Tensor | None
) -> tuple[Tensor, Tensor, Tensor | None, int]:
    """Check and widen the arguments; prepend the past, P positions, to x."""
    if x.dim() != 3:
        raise ValueError(f"x must have shape (B, D, T), got {tuple(x.shape)}")
    B, D, _ = x.shape
    if kernel.dim() != 2 or kernel.shape[0] != D or kernel.shape[1] < 1:
        raise ValueError(f"kernel must have shape ({D}, L), got {tuple(kernel.shape)}")
    if not causal and kernel.shape[1] % 2 == 0:
        raise ValueError(f"kernel must have an odd length where causal=False, got {kernel.shape[1]}")
    if skip is not None and skip.shape != (D,):
        raise ValueError(f"skip must have shape ({D},), got {tuple(skip.shape)}")
    if past is not None and (past.dim() != 3 or past.shape[:2] != (B, D)):
        raise ValueError(f"past must have shape ({B}, {D}, P), got {tuple(past.shape)}")
    if past is not None and not causal:
        raise ValueError("past must be None where causal=False")
    float_ = wide(x.dtype)
    x, kernel = x.to(float_), kernel.to(float_)
    skip = None if skip is None else skip.to(float_)
    if past is None:
        return x, kernel, skip, 0
    return torch.cat((past.to(float_), x), -1), kernel, skip, past.shape[-1]


def _direct(x: Tensor, kernel: Tensor, causal: bool, T: int) -> Tensor:
    """Return the last T outputs as dot products, for small T."""
    L = kernel.shape[-1]
    x = pad(x, (max(0, L + T - 1 - x.shape[-1]), 0))[..., -(L + T - 1) :]
    return torch.stack([(x[..., t : t + L] * kernel.flip(-1)).sum(-1) for t in range(T)], -1)


def _refuses_direct(x: Tensor, kernel: Tensor, causal: bool, T: int) -> str | None:
    return None if causal and T < DIRECT else f"for fewer than {DIRECT} new positions, causal, only"


def _by_spectrum(x: Tensor, kernel: Tensor, causal: bool, T: int) -> Tensor:
    """Return the last T outputs, by FFTs."""
    S = x.shape[-1]
    centre = 0 if causal else kernel.shape[-1] // 2
    if centre >= S:  # lags beyond the sequence have no inputs
        kernel, centre = kernel[:, centre - S + 1 : centre + S], S - 1
    elif causal:
        kernel = kernel[:, :S]
    n = _fast_length(S + kernel.shape[-1] - 1)
    spectrum = torch.fft.rfft(x, n) * torch.fft.rfft(kernel, n)
    return torch.fft.irfft(spectrum, n)[..., centre : centre + S][..., S - T :]


_PATHS = Paths(
    "long_conv",
    Path("dot products", "dot products, for a few new positions", _direct, _refuses_direct),
    Path("FFT", "products of spectra by torch.fft", _by_spectrum),
)


def _fast_length(n: int) -> int:
    """Return the smallest length >= n of the form 2^k, 3 * 2^k or 5 * 2^k."""
    power = 1 << (n - 1).bit_length()
    return next(m for m in (power * 5 // 8, power * 3 // 4, power) if m >= n)


def long_conv_nd_definition(
    x: Tensor, kernel: Tensor, *, causal: bool = True, skip: Tensor | None = None
) -> Tensor:
    """The sum over all lags; see :func:`long_conv_nd`."""
    dtype, sizes = x.dtype, x.shape[2:]
    x, kernel, skip = _prepare_nd(x, kernel, causal, skip)
    centre = [0 if causal else lags // 2 for lags in kernel.shape[1:]]
    if x.numel() == 0:
        return _nothing(x, kernel).to(dtype)
    y = torch.zeros_like(x) if skip is None else _per_channel(skip, x) * x
    for place in product(*(range(lags) for lags in kernel.shape[1:])):
        lag = [p - c for p, c in zip(place, centre, strict=True)]
        if any(abs(d) >= size for d, size in zip(lag, sizes, strict=True)):
            continue
        to: tuple[Any, ...] = tuple(
            slice(max(d, 0), size + min(d, 0)) for d, size in zip(lag, sizes, strict=True)
        )
        source: tuple[Any, ...] = tuple(
            slice(max(-d, 0), size - max(d, 0)) for d, size in zip(lag, sizes, strict=True)
        )
        moved = torch.zeros_like(x)
        moved[(..., *to)] = x[(..., *source)]
        tap: tuple[Any, ...] = (slice(None), *place)
        y = y + _per_channel(kernel[tap], x) * moved
    return y.to(dtype)


def long_conv_nd_flops(x: Tensor, kernel: Tensor, **_: Any) -> int:
    """Three real transforms of n (2.5 n log2 n each) and the product of spectra."""
    B, D, *sizes = x.shape
    n = math.prod(size + min(lags, 2 * size) for size, lags in zip(sizes, kernel.shape[1:], strict=True))
    return int(2.5 * n * max(n.bit_length() - 1, 1)) * (2 * B * D + D) + 3 * n * B * D


@primitive(
    "long_conv_nd",
    definition=long_conv_nd_definition,
    flops=long_conv_nd_flops,
    spread=Spread((2, 3), "a transform mixes all positions"),
)
def long_conv_nd(x: Tensor, kernel: Tensor, *, causal: bool = True, skip: Tensor | None = None) -> Tensor:
    """Convolve each channel of a grid with its own kernel: y_i = sum_j kernel_{i-j} x_j over i and j in N axes.

    Args:
        x: (B, D, *sizes).
        kernel: (D, *lags), from lag zero along each axis; with ``causal=False`` sizes are odd and lag zero is in the
            middle.
        causal: sum only over j <= i along every axis.
        skip: (D,), adds skip * x.

    Returns:
        y (B, D, *sizes), in the dtype of x.

    Raises:
        ValueError: if shapes don't fit.
    """
    with no_autocast(x):
        dtype = x.dtype
        x, kernel, skip = _prepare_nd(x, kernel, causal, skip)
        if x.numel() == 0:
            return _nothing(x, kernel).to(dtype)
        y = _PATHS_ND(x, kernel, causal)
        return (y if skip is None else y + _per_channel(skip, x) * x).to(dtype)


def _by_spectrum_nd(x: Tensor, kernel: Tensor, causal: bool) -> Tensor:
    sizes = x.shape[2:]
    keep, crop = [slice(None)], [slice(None), slice(None)]
    for size, lags in zip(sizes, kernel.shape[1:], strict=True):  # lags beyond the grid have no inputs
        centre = 0 if causal else lags // 2
        first, centre = max(centre - size + 1, 0), min(centre, size - 1)
        keep.append(slice(first, first + centre + size))
        crop.append(slice(centre, centre + size))
    kernel = kernel[tuple(keep)]
    n = [_fast_length(a + b - 1) for a, b in zip(sizes, kernel.shape[1:], strict=True)]
    axes = list(range(-len(sizes), 0))
    spectrum = torch.fft.rfftn(x, n, axes) * torch.fft.rfftn(kernel, n, axes)
    return torch.fft.irfftn(spectrum, n, axes)[tuple(crop)]


_PATHS_ND = Paths("long_conv_nd", Path("FFT", "products of spectra by torch.fft", _by_spectrum_nd))


def _prepare_nd(
    x: Tensor, kernel: Tensor, causal: bool, skip: Tensor | None
) -> tuple[Tensor, Tensor, Tensor | None]:
    if x.dim() < 3:
        raise ValueError(f"x must have shape (B, D, *sizes), got {tuple(x.shape)}")
    D, axes = x.shape[1], x.dim() - 2
    if kernel.dim() != axes + 1 or kernel.shape[0] != D or min(kernel.shape[1:]) < 1:
        raise ValueError(f"kernel must have shape ({D}, {axes} numbers of lags), got {tuple(kernel.shape)}")
    if not causal and any(lags % 2 == 0 for lags in kernel.shape[1:]):
        raise ValueError(f"kernel must have odd sizes where causal=False, got {tuple(kernel.shape[1:])}")
    if skip is not None and skip.shape != (D,):
        raise ValueError(f"skip must have shape ({D},), got {tuple(skip.shape)}")
    float_ = wide(x.dtype)
    return x.to(float_), kernel.to(float_), None if skip is None else skip.to(float_)


def _nothing(x: Tensor, kernel: Tensor) -> Tensor:
    """Return x, which is empty, depending on x and kernel for autograd."""
    return x * _per_channel(kernel.flatten(1)[:, 0], x)


def _per_channel(v: Tensor, x: Tensor) -> Tensor:
    return v.reshape(-1, *(1,) * (x.dim() - 2))
