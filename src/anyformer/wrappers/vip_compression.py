"""A few important tokens beside a compression of all others, finer where the important ones attend."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from anyformer.contract import GROWTHS, Inputs, Mixer, MixerInfo, Wrapper, take_tokens
from anyformer.wrappers import register_wrapper


@register_wrapper("vip_compression")
class VipCompression(Wrapper):
    """A stack on the first tokens and on means over segments of the others (Zeng 2023, section 4).

    With x = [P; C], the stack's input is [P; S C], where S averages segments, and its residual is expanded:
    y = [f(P; SC)_P - P; S^+ (f(P; SC)_C - SC)], where S^+ gives each token its segment's value. Segments have
    ``segment`` tokens at first. Then, level by level, the ``refine`` segments of the largest attention from the VIP
    tokens P, sum_p exp(p . mean), are halved, down to single tokens: O(n / segment + refine log segment) segments.

    Args:
        inner: a bidirectional mixer that returns the residual stream, such as a Transformer layer.
        num_vip: number of first tokens that are VIP.
        segment: a power of two.
        refine: segments that are halved at each level.
    """

    inner_norm = False

    class Options(Wrapper.Options):
        num_vip: int = 1
        segment: int = 16
        refine: int = 4

        def info(self, inner: MixerInfo) -> MixerInfo:
            if inner.causal:
                raise ValueError("inner must be bidirectional: a segment's mean contains later tokens")
            self.refuse_grids("segments", inner=inner)
            if self.num_vip < 1 or self.refine < 0 or self.segment < 1 or self.segment & (self.segment - 1):
                raise ValueError(
                    "num_vip must be at least 1, refine not negative and segment a power of two; "
                    f"got {self.num_vip}, {self.refine} and {self.segment}"
                )
            return dataclasses.replace(
                inner,
                reach=(None, None),
                cost=max(inner.cost, "n", key=GROWTHS.index),
                memory=max(inner.memory, "n", key=GROWTHS.index),
                side={},
                max_length=None,
            )

    options: Options

    def __init__(self, dim: int, inner: Mixer, **options: Any) -> None:
        super().__init__(dim, inner, **options)
        o = self.options
        self.inner, self.num_vip, self.segment, self.refine = inner, o.num_vip, o.segment, o.refine

    def _forward(self, x: Tensor, inputs: Inputs) -> Tensor:
        (B, T, _), P = x.shape, self.num_vip
        if T <= P:
            call = inputs.inside("vip_compression", self.inner.info.side)
            return self.inner(x, inputs.replace(call=call)) - x
        real = torch.ones_like(inputs.index, dtype=torch.bool) if inputs.mask is None else inputs.mask
        segments = self.segments(x, real)
        positions = inputs.positions.reshape(B, T, -1)
        mean = segments.down(positions[:, P:]).reshape(B, -1, *inputs.positions.shape[2:])
        mask = torch.cat([real[:, :P], segments.sizes > 0], 1)
        short = torch.cat([x[:, :P], segments.down(x[:, P:])], 1)
        number = torch.arange(short.shape[1], device=x.device).expand(B, -1)
        positions = torch.cat([inputs.positions[:, :P], mean], 1)
        call = inputs.inside("vip_compression", self.inner.info.side)
        given = inputs.replace(mask=mask, index=number, positions=positions, call=call)
        added = self.inner(short, given) - short
        return inputs.zero(torch.cat([added[:, :P], segments.up(added[:, P:])], 1))

    @torch.no_grad()
    def segments(self, x: Tensor, real: Tensor) -> Segmentation:
        """Return the segmentation of the tokens after the first ``num_vip`` of x (B, T, D); real (B, T) bool."""
        vip, rest = x[:, : self.num_vip], x[:, self.num_vip :]
        there, length = real[:, self.num_vip :], rest.shape[1]
        padded = pad(rest.masked_fill(~there[..., None], 0.0), (0, 0, 0, -length % self.segment))
        held = pad(there, (0, -length % self.segment))
        size, active = self.segment, None
        starts = torch.zeros_like(held)
        while True:
            count = held.unflatten(1, (-1, size)).sum(2)
            active = count > 0 if active is None else active & (count > 0)
            starts[:, ::size] |= active
            if size == 1 or self.refine == 0:
                break
            mean = padded.unflatten(1, (-1, size)).sum(2) / count.clamp_min(1)[..., None]
            seen = (vip @ mean.mT * x.shape[2] ** -0.5).masked_fill(
                ~real[:, : self.num_vip, None], -torch.inf
            )
            weight = seen.logsumexp(1).masked_fill(~active, -torch.inf)
            best, chosen = weight.topk(min(self.refine, weight.shape[1]), 1)
            halved = torch.zeros_like(active).scatter(1, chosen, best > -torch.inf)
            active, size = halved.repeat_interleave(2, 1), size // 2
        most = -(-length // self.segment) + self.refine * (self.segment.bit_length() - 1)
        number = (starts[:, :length].cumsum(1) - 1).clamp_min(0)
        return Segmentation.of(number, there, min(most, length))


class Segmentation(NamedTuple):
    """The segment of each token, in order."""

    number: Tensor  # (B, T) int64
    real: Tensor  # (B, T) bool
    sizes: Tensor  # (B, R): tokens of each segment

    @classmethod
    def of(cls, number: Tensor, real: Tensor, most: int) -> Segmentation:
        """Build from the segment of each token; ``most`` is the largest number of segments."""
        sizes = torch.zeros(number.shape[0], most, dtype=torch.int64, device=number.device)
        return cls(number, real, sizes.scatter_add(1, number, real.long()))

    def down(self, x: Tensor) -> Tensor:
        """Return S x, the mean of x (B, T, D) over each segment: (B, R, D)."""
        x = x.masked_fill(~self.real[..., None], 0.0)
        total = x.new_zeros(*self.sizes.shape, x.shape[2])
        total = total.scatter_add(1, self.number[..., None].expand_as(x), x)
        return total / self.sizes.clamp_min(1)[..., None]

    def up(self, y: Tensor) -> Tensor:
        """Return S^+ y, y (B, R, D) at each token of the segment: (B, T, D)."""
        return take_tokens(y, self.number).masked_fill(~self.real[..., None], 0.0)
