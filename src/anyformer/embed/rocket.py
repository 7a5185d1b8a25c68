"""Shares of the steps at which fixed kernels respond, as a few tokens."""

from __future__ import annotations

from hashlib import blake2b
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from anyformer.embed import register_embedder
from anyformer.embed._base import Embedder, EmbedderInfo
from anyformer.inputs import Layout
from anyformer.layers.linear import Linear
from anyformer.layers.rocket import KERNELS, TAPS, KernelShares
from anyformer.precision import no_autocast, widen
from anyformer.schema import StreamFacts, Values

COMPONENTS = 256
"""Principal components of the shares: less than that many series have as many as they are."""
ROWS = 1024
"""Most training tokens of which components are found."""
START = 0.02
"""Standard deviation of fresh weights: near zero, so that what training data does not tell has no say in answers."""
RANK = 1e-4
"""Least spread of a component, over that of the first: below it there is only rounding."""
PIECE = 64
"""Series whose shares are found at once while fitting."""
KEPT = 128 * 2**20
"""Most bytes that a process keeps of components of series."""
FITS = 8
"""Fitted kernels and components that a process keeps, the last ones."""


_known: dict[bytes, Tensor] = {}
"""Components by the digest of what was fitted, of a series and of its steps: nothing in them is trained, and all runs
of a comparison read the same series again and again."""
_fits: dict[bytes, dict[str, Tensor]] = {}
"""What was fitted, by the digest of the series and the options."""


@register_embedder("rocket", examples=[{"features": 4}, {"features": 6, "segments": 3}])
class Rocket(Embedder):
    """A series by the features of MiniRocket: x_s = W P z_s + b, z_s the shares of its s-th segment, standardised.

    Shares are of the steps at which fixed dilated kernels respond (:class:`anyformer.layers.rocket.KernelShares`;
    Dempster, Schmidt and Webb 2021), a quarter of them on its differences from step to step (Tan et al. 2022, section
    3.1, has half of them there). P are the first 256 principal components of training series, with one scale for all of
    them: what linear models with a ridge see of such shares is in their span, and their number is that of the weights.
    A share counts as at most one deviation outside the range of training series, so that one that was the same in all
    of them says nothing, whatever comes later. Kernels, biases, ranges, means, deviations and P are fitted on training
    series (:meth:`fit`) and saved, not trained; before, they are those of white noise, and P is drawn. The series that
    biases are taken from are drawn by a digest of all, so that models of all seeds have the same. W starts near zero.

    Args:
        features: shares of each of the 84 kernels, over all dilations; at least 4.
        segments: tokens S: parts of a series of about as many steps, each with shares of its own.
    """

    reads_whole = True
    fit_elements = 100_000

    class Options(Embedder.Options):
        features: int = 32
        segments: int = 1

        def info(self, facts: StreamFacts) -> EmbedderInfo:
            self.needs(facts, "sequence")
            if categories := [field.name for field in facts.fields if field.size is not None]:
                raise ValueError(
                    f"embed: {self.owner} embeds series of numbers alone, and these inputs have the category "
                    f"{categories[0]!r}"
                )
            if self.features < 4:
                raise ValueError(f"embed: features of {self.owner} must be at least 4, got {self.features}")
            if self.segments < 1:
                raise ValueError(f"embed: segments of {self.owner} must be at least 1, got {self.segments}")
            return EmbedderInfo(length=self.segments)

    options: Options
    lowest: Tensor
    highest: Tensor
    mean: Tensor
    scale: Tensor
    basis: Tensor

    def __init__(self, facts: StreamFacts, dim: int, *known: Any, **options: Any) -> None:
        super().__init__(facts, dim, *known, **options)
        count, channels = self.options.features, sum(field.width or 0 for field in facts.fields)
        self.levels, self.changes = (
            KernelShares(count - count // 4, channels),
            KernelShares(count // 4, channels),
        )
        width = count * KERNELS
        self.register_buffer("lowest", torch.zeros(width))
        self.register_buffer("highest", torch.ones(width))
        self.register_buffer("mean", torch.full((width,), 0.5))
        self.register_buffer("scale", torch.ones(width))
        self.register_buffer("basis", torch.randn(width, COMPONENTS) / width**0.5)
        self.project = Linear(COMPONENTS, dim)
        nn.init.normal_(self.project.weight, std=START)
        nn.init.zeros_(self.project.bias)
        self._read_as: tuple[tuple[tuple[int, int], ...], bytes] = ((), b"")

    @torch.no_grad()
    def fit(self, values: Values, mask: Tensor | None = None) -> None:
        """Choose all that is fitted by training series.

        Raises:
            ValueError: all series are shorter than a kernel.
        """
        x, real = self._series(values, mask)
        if x.shape[2] < TAPS:
            raise ValueError(
                f"embed: {self.options.owner} is for series of at least {TAPS} steps, the length of its kernels, and "
                f"these have at most {x.shape[2]}"
            )
        key = _digest([x, real], str(self.options).encode())
        if key in _fits:
            self.load_state_dict(_fits[key], strict=False)
            return
        self._fit(x, real, np.random.default_rng(list(key)))
        if len(_fits) == FITS:
            del _fits[next(iter(_fits))]
        _fits[key] = {name: value.clone() for name, value in self.named_buffers()}

    def _fit(self, x: Tensor, real: Tensor, rng: np.random.Generator) -> None:
        self.levels.fit(x, real, rng)
        self.changes.fit(*_changes(x, real), rng)
        pieces = zip(x.split(PIECE), real.split(PIECE))
        shares = torch.cat([self._shares(*piece) for piece in pieces]).flatten(0, 1)
        lowest, highest, deviation = shares.amin(0), shares.amax(0), shares.std(0, correction=0)
        deviation[lowest == highest] = 0
        self.lowest.copy_(lowest - deviation)
        self.highest.copy_(highest + deviation)
        self.mean.copy_(torch.where(deviation > 0, shares.mean(0), lowest))
        self.scale.copy_(torch.where(deviation > 0, deviation, 1))
        z = self._standardised(shares)[:: -(-len(shares) // ROWS)]
        _, spread, directions = torch.linalg.svd(z, full_matrices=False)
        directions = directions[spread > RANK * spread[0]][:COMPONENTS].T
        self.basis.zero_()[:, : directions.shape[1]] = directions / (z @ directions).square().mean().sqrt()

    def forward(self, values: Values, mask: Tensor | None = None) -> Tensor:
        """x ``(B, S, D)`` of checked values and their mask ``(B, T)``."""
        x, real = self._series(values, mask)
        once = x.device.type == "cpu" and not torch.compiler.is_compiling()
        read = self._remembered if once else self._components
        return self.project(read(x, real).to(self.project.weight.dtype))

    def _series(self, values: Values, mask: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return series ``(B, C, T)``, real steps first and 0 behind them, and where there are some ``(B, T)``."""
        x = widen(torch.cat([values[name] for name in self.facts.names], -1))
        layout = Layout.of(x, None if mask is None else mask > 0)
        real = x.new_ones(x.shape[:2], dtype=torch.bool) if layout.mask is None else layout.mask
        return layout.align(x).mT.contiguous(), real

    @torch.no_grad()
    def _shares(self, x: Tensor, real: Tensor) -> Tensor:
        """Return the shares ``(B, S, features * KERNELS)``."""
        segments = self.options.segments
        return torch.cat([self.levels(x, real, segments), self.changes(*_changes(x, real), segments)], -1)

    def _components(self, x: Tensor, real: Tensor) -> Tensor:
        """Return the components ``(B, S, COMPONENTS)`` of the shares."""
        with no_autocast(x):
            z = self._standardised(self._shares(x, real))
            return z @ self.basis.to(z)

    def _standardised(self, shares: Tensor) -> Tensor:
        """Return shares less their means, over their deviations, held to the range of training series."""
        return (shares.clamp(self.lowest, self.highest) - self.mean) / self.scale

    def _remembered(self, x: Tensor, real: Tensor) -> Tensor:
        """Return the components, found once for each series in a process."""
        fitted = self._fitted()
        keys = [_digest([one, steps], fitted) for one, steps in zip(x.detach(), real)]
        read = {key: _known[key] for key in keys if key in _known}
        new = torch.tensor([i for i, key in enumerate(keys) if key not in read], dtype=torch.long)
        if len(new):
            lacking = dict(zip([keys[i] for i in new], self._components(x[new], real[new])))
            read.update(lacking)
            room = KEPT // next(iter(read.values())).nbytes
            _known.update(list(lacking.items())[:room])
            while len(_known) > room:
                del _known[next(iter(_known))]  # the oldest
        return torch.stack([read[key] for key in keys])

    def _fitted(self) -> bytes:
        """Return the digest of all that is fitted, made anew where that has changed."""
        held = list(self.buffers())
        state = tuple((id(one), 0 if one.is_inference() else one._version) for one in held)
        if state != self._read_as[0]:
            self._read_as = state, _digest(held)
        return self._read_as[1]


def _digest(tensors: list[Tensor], more: bytes = b"") -> bytes:
    found = blake2b(more, digest_size=16)
    for one in tensors:
        found.update(f"{one.dtype} {tuple(one.shape)}".encode())
        found.update((one.float() if one.dtype == torch.bfloat16 else one).cpu().numpy().tobytes())
    return found.digest()


def _changes(x: Tensor, real: Tensor) -> tuple[Tensor, Tensor]:
    """Return the differences of ``(B, C, T)`` from the step before, 0 at the first, and where they are known."""
    known = real.clone()
    known[:, :1] = False
    known[:, 1:] &= real[:, :-1]
    return torch.where(known[:, None], x - x.roll(1, -1), 0), known
