"""Fixed dilated kernels on series, and the shares of the steps at which they respond: the features of MiniRocket."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from anyformer.precision import no_autocast, widen

TAPS = 9
"""Length of a kernel; series that are shorter have no features of their own."""
WEIGHTS = np.array(
    [[2.0 if tap in twos else -1.0 for tap in range(TAPS)] for twos in combinations(range(TAPS), 3)]
)
"""All kernels ``(84, TAPS)`` with three weights of 2 among weights of -1."""
KERNELS = len(WEIGHTS)
MOST_DILATIONS = 32
UNFITTED = 128
"""Steps of the white noise for which dilations and biases are made before they are fitted."""
ROUNDING = 1e-5
"""Responses that differ by less than this share of the largest possible one count as equal."""
BETWEEN = 0.382
"""Place between two responses, where few others lie if they are whole multiples of something: the golden section."""


class KernelShares(nn.Module):
    """Shares of the steps at which the convolution with a kernel exceeds a bias (Dempster, Schmidt and Webb 2021).

    A feature has a kernel, a dilation and a bias. Biases are quantiles of the kernel's convolution, of white noise at
    first, with :meth:`fit` of a training series drawn for the kernel; one that falls on a response is moved towards the
    next, so that rounding decides nothing where many are equal. Of several channels a kernel then sees some, drawn at
    random, as in the authors' multivariate form, out of those that are not the same in all of training. Shares are of
    the real steps, so that series may be of different lengths; of every other kernel only those steps count at which
    all its taps are real. Nothing is trained.

    Args:
        count: features of each kernel, over all dilations.
        channels: of the series.
    """

    dilations: Tensor
    seen: Tensor
    biases: Tensor

    def __init__(self, count: int, channels: int) -> None:
        super().__init__()
        self.count = count
        self.register_buffer("dilations", torch.tensor(_slots(UNFITTED, count)))
        """Of each feature of a kernel ``(count,)``, ascending."""
        self.register_buffer("seen", torch.ones(count, KERNELS, channels))
        """1 at the channels that a kernel sees; the same for all features of a dilation."""
        quantiles = _quantiles(_slots(UNFITTED, count)).to(self.seen)
        noise = float(np.square(WEIGHTS[0]).sum() * channels) ** 0.5
        self.register_buffer("biases", noise * torch.special.ndtri(quantiles))
        """``(count, KERNELS)``."""

    def fit(self, x: Tensor, mask: Tensor, rng: np.random.Generator) -> None:
        """Choose dilations, channels and biases for series ``(B, C, T)`` with a mask ``(B, T)``."""
        slots = _slots(x.shape[2], self.count)
        self.dilations.copy_(torch.tensor(slots))
        quantiles = _quantiles(slots).to(x)
        varying = _varying(x, mask)
        for place, (dilation, here) in enumerate(_groups(slots)):
            seen = _channels(varying, rng)
            self.seen[here] = seen.to(self.seen)
            chosen = torch.from_numpy(rng.integers(len(x), size=KERNELS))
            alone = x[chosen].flatten(0, 1)[None]  # each kernel on its own series
            made = _convolved(alone, _weights(seen.to(x)), dilation, groups=KERNELS)[0]
            counted = _counted(mask[chosen], place, dilation).diagonal().mT
            largest = 2 * TAPS * x[chosen].abs().amax(2).mul(seen.to(x)).sum(1)
            for kernel in range(KERNELS):
                real = made[kernel, counted[kernel]] if counted[kernel].any() else made[kernel]
                bias = torch.quantile(real, quantiles[here, kernel])
                bias = _between(real.sort().values, bias, ROUNDING * float(largest[kernel]))
                self.biases[here, kernel] = bias.to(self.biases)

    def forward(self, x: Tensor, mask: Tensor, segments: int = 1) -> Tensor:
        """Return shares ``(B, segments, count * KERNELS)`` of series ``(B, C, T)``, 0 where ``mask`` (B, T) is False.

        Args:
            segments: parts of about as many real steps into which each series is cut; a part without any has 0.
        """
        x = widen(x)
        found = []
        parts = segments_of(mask, segments).to(x)
        if not torch.compiler.is_compiling() and mask.all():
            mask, parts = mask[:1], parts[:1]  # the same steps count of all series
        with no_autocast(x):
            for place, (dilation, here) in enumerate(_groups(self.dilations.tolist())):
                made = _convolved(x, _weights(self.seen[here][0].to(x)), dilation)
                counted = _counted(mask, place, dilation)
                made = made.masked_fill_(~counted, -torch.inf)
                steps = _true(counted, parts).clamp_min(1)
                for bias in self.biases[here].to(x):
                    found.append(_true(made > bias[:, None], parts) / steps)  # (B, KERNELS, segments)
        return torch.cat(found, 1).mT


def dilations_for(length: int, count: int) -> dict[int, int]:
    """Return dilations, ascending, each with the number of features that a kernel has of it, ``count`` in all."""
    tried = min(count, MOST_DILATIONS)
    exponents = np.linspace(0, np.log2((length - 1) / (TAPS - 1)), tried)
    dilations, times = np.unique(np.floor(2.0**exponents).astype(int), return_counts=True)
    shares = times * count // tried
    shares[: count - shares.sum()] += 1
    return {int(dilation): int(share) for dilation, share in zip(dilations, shares)}


def segments_of(mask: Tensor, segments: int) -> Tensor:
    """Return 1 at the steps of each segment ``(B, T, segments)`` float, which divide the real steps of ``(B, T)``."""
    real = mask.cumsum(1)
    place = (real - 1) * segments // real[:, -1:].clamp_min(1)
    return functional.one_hot(place.clamp_min(0), segments) * mask[..., None]


def _true(which: Tensor, parts: Tensor) -> Tensor:
    """Return the number of steps of each segment ``(B, K, segments)`` at which ``(B, K, T)`` is True.

    Args:
        parts: 1 at the steps of each segment ``(B, T, segments)``; of one segment, it has all that are True.
    """
    if parts.shape[2] > 1:
        return which.to(parts) @ parts
    return which.view(torch.uint8).sum(2, keepdim=True, dtype=torch.int32).to(parts)


def _slots(length: int, count: int) -> list[int]:
    """Return the dilation of each feature of a kernel, ascending."""
    return [d for d, features in dilations_for(length, count).items() for _ in range(features)]


def _groups(slots: list[int]) -> list[tuple[int, slice]]:
    """Return the dilations, ascending, each with the features of a kernel that have it."""
    return [(d, slice(slots.index(d), slots.index(d) + slots.count(d))) for d in sorted(set(slots))]


def _quantiles(slots: list[int]) -> Tensor:
    """Return the quantile of each bias ``(count, KERNELS)``: a low-discrepancy sequence, kernel by kernel."""
    golden = np.arange(1, KERNELS * len(slots) + 1) * ((np.sqrt(5) + 1) / 2) % 1
    parts = [golden[KERNELS * here.start : KERNELS * here.stop] for _, here in _groups(slots)]
    return torch.from_numpy(np.concatenate([part.reshape(KERNELS, -1).T for part in parts])).float()


def _between(values: Tensor, biases: Tensor, rounding: float) -> Tensor:
    """Return biases of which those within ``rounding`` of a value, of ascending ones, lie between it and the next."""
    first = torch.searchsorted(values, biases - rounding)
    last = torch.searchsorted(values, biases + rounding, right=True)
    following = torch.cat([values, values[-1:] + 200 * rounding])[last]
    return torch.where(last > first, values[last - 1].lerp(following, BETWEEN), biases)


def _weights(seen: Tensor) -> Tensor:
    """Return the weights ``(KERNELS, C, TAPS)`` on the channels ``(KERNELS, C)`` that each kernel sees."""
    return torch.from_numpy(WEIGHTS).to(seen)[:, None] * seen[..., None]


def _varying(x: Tensor, mask: Tensor) -> np.ndarray:
    """Return True at the channels ``(C,)`` of series ``(B, C, T)`` that have several values; at all if none has."""
    real = mask[:, None].expand_as(x)
    lowest, highest = (
        x.masked_fill(~real, torch.inf).amin((0, 2)),
        x.masked_fill(~real, -torch.inf).amax((0, 2)),
    )
    found: np.ndarray = (
        (highest - lowest > ROUNDING * torch.maximum(highest.abs(), lowest.abs())).cpu().numpy()
    )
    return found if found.any() else np.ones_like(found)


def _channels(varying: np.ndarray, rng: np.random.Generator) -> Tensor:
    """Return 1 at the channels that each kernel sees ``(KERNELS, C)``: one to nine of those that vary, mostly few."""
    found, places = torch.zeros(KERNELS, len(varying)), np.flatnonzero(varying)
    most = np.log2(min(len(places), TAPS) + 1)
    for row in found:
        row[places[rng.permutation(len(places))[: max(1, int(2 ** rng.uniform(0, most)))]]] = 1
    return found


def _convolved(x: Tensor, weight: Tensor, dilation: int, groups: int = 1) -> Tensor:
    return functional.conv1d(x, weight, padding=TAPS // 2 * dilation, dilation=dilation, groups=groups)


def _counted(mask: Tensor, place: int, dilation: int) -> Tensor:
    """Return the steps that count of each kernel ``(B, KERNELS, T)``: of every other one only those with all taps."""
    ones = torch.ones(1, 1, TAPS, device=mask.device)
    whole = _convolved(mask.float()[:, None], ones, dilation)[:, 0] > TAPS - 0.5
    padded = (torch.arange(KERNELS, device=mask.device) + place) % 2 == 0
    return torch.where(padded[:, None], mask[:, None], whole[:, None])
