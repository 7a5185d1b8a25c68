"""Grouped-query attention with group sizes set by the norms of key heads."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from anyformer.caches import Cache
from anyformer.contract import Inputs, MixerInfo, Mixing
from anyformer.layers.linear import Linear
from anyformer.mixers import register_mixer
from anyformer.mixers.softmax.attention import Attention
from anyformer.precision import wide
from anyformer.registry import nearest

ALLOCATIONS = ("keys", "average", "change", "equal")
BETA = 0.9
"""Weight of the newest norms in the running average."""


def allocate(weights: Tensor, total: int) -> Tensor:
    """Split ``total`` into integers in proportion to nonnegative weights (..., G): (..., G) int64.

    total * weight / sum is rounded; then the largest share loses one while the sum is too large, and the smallest gains
    one while it is too small.
    """
    G = weights.shape[-1]
    whole = weights.sum(-1, keepdim=True)
    weights = torch.where(whole > 0, weights, 1.0)
    counts = (weights / weights.sum(-1, keepdim=True) * total).round().long()
    group = torch.arange(G, device=weights.device)
    for _ in range(G):  # rounding errs by less than one per group
        excess = counts.sum(-1, keepdim=True) - total
        largest, smallest = (pick(counts, -1, keepdim=True) == group for pick in (torch.argmax, torch.argmin))
        counts = counts - ((excess > 0) & largest).long() + ((excess < 0) & smallest).long()
    return counts


@register_mixer(
    "key_driven_attention",
    examples=[
        {},
        {"allocation": "keys", "causal": False},
        {"allocation": "change", "num_kv_heads": 3, "positions": "t5"},
        {"allocation": "equal", "perturb": True, "causal": False},
    ],
)
class KeyDrivenAttention(Attention):
    """Grouped-query attention with groups of unequal size, set by the norms of the key heads (Khan 2024).

    Key/value head g serves about H w_g / sum(w) query heads in a row. With n_g the norm of a head's keys over all
    tokens of a sample, w_g is: for ``keys``, n_g minus the smallest of the same sample (KDGQA); for ``average``, a
    running average of n_g over training steps; for ``change``, the change of n_g since the last update (DGQA). The last
    two are updated after training steps, so that a result depends neither on later tokens nor on other samples.

    Args:
        num_heads: query heads H. num_kv_heads: key/value heads G, by default half as many.
        allocation: ``average``, ``change``, ``keys`` (bidirectional only), or ``equal`` for equal groups.
        every: training steps between two updates.
        perturb: subtract from each head's output Gaussian noise with the output's mean and deviation over the sample in
            training, and that mean in evaluation (PGQA). Bidirectional only.
        positions: as for ``attention``.
    """

    mean_norms: Tensor
    weights: Tensor
    steps: Tensor

    class Options(Attention.Options, only=("num_heads", "num_kv_heads", "positions", "causal")):
        allocation: str = "average"
        every: int = 1
        perturb: bool = False

        def info(self) -> MixerInfo:
            if self.allocation not in ALLOCATIONS:
                raise ValueError(
                    f"unknown allocation {self.allocation!r}{nearest(self.allocation, list(ALLOCATIONS))}"
                )
            if self.causal and (self.allocation == "keys" or self.perturb):
                raise ValueError(
                    "causal must be False with allocation='keys' or perturb: they depend on all tokens"
                )
            info = super().info()
            if self.perturb:
                excuse = {"modes": "noise is drawn in training"}
                info = dataclasses.replace(info, exceptions={**info.exceptions, **excuse})
            return info

    options: Options

    def __init__(self, dim: int, **options: Any) -> None:
        super().__init__(dim, **options)
        o, H = self.options, self.num_heads
        G = max(1, H // 2) if o.num_kv_heads is None else o.num_kv_heads
        if not 1 <= G <= H:
            raise ValueError(f"num_kv_heads must be 1 to num_heads={H}, got {G}")
        if o.every < 1:
            raise ValueError(f"every must be at least 1, got {o.every}")
        self.num_kv_heads, self.allocation, self.every, self.perturb = G, o.allocation, o.every, o.perturb
        self.k = Linear(dim, G * self.head_dim, bias=False)
        self.v = Linear(dim, G * self.head_dim, bias=False)
        self.register_buffer("mean_norms", torch.zeros(G))
        self.register_buffer("weights", torch.ones(G))
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    def _projected_heads(self) -> int:
        """The number of query heads: of the parent's projections, which are replaced."""
        return self.options.num_heads

    def groups(self, keys: Tensor, inputs: Inputs) -> Tensor:
        """Return the number of query heads of each key/value head, (B or 1, G) int64, for keys (B, G, T, K)."""
        weights = self.weights[None]
        if self.allocation == "keys":
            norms = _norms(keys, inputs)
            weights = norms - norms.amin(-1, keepdim=True)
        return allocate(weights, self.num_heads)

    def after_step(self, notes: Mapping[str, Tensor], progress: float) -> None:
        """Update the running average or the change of the norms, every ``every`` steps."""
        if "norms" not in notes:
            return
        norms = (notes["norms"] / notes["samples"]).to(self.mean_norms)
        if int(self.steps) % self.every == 0:
            if self.allocation == "average":
                average = norms if int(self.steps) == 0 else BETA * norms + (1 - BETA) * self.mean_norms
                self.mean_norms.copy_(average)
                self.weights.copy_(average)
            else:
                self.weights.copy_((norms - self.mean_norms).abs())
                self.mean_norms.copy_(norms)
        self.steps += 1

    def _shared(self, keys: Cache, inputs: Inputs) -> Cache:
        """Return the keys and values of each query head."""
        keys = super()._shared(keys, inputs)
        if self.training and self.allocation in ("average", "change"):
            norms = _norms(keys["k"], inputs)
            inputs.call.note(self, "norms", norms.sum(0))
            inputs.call.note(self, "samples", torch.full((), float(len(norms)), device=norms.device))
        ends = self.groups(keys["k"], inputs).cumsum(-1)
        head = torch.arange(self.num_heads, device=ends.device)
        index = (head[:, None] >= ends[:, None]).sum(-1)[:, :, None, None]

        def of_heads(t: Tensor) -> Tensor:
            return t.gather(1, index.expand(len(t), -1, *t.shape[2:]))

        return {**keys, "k": of_heads(keys["k"]), "v": of_heads(keys["v"])}

    def _attend_whole(self, q: Tensor, keys: Cache, inputs: Inputs) -> Any:
        y = super()._attend_whole(q, keys, inputs)
        if not self.perturb or y.shape[2] == 0:
            return y
        y = inputs.zero(y.transpose(1, 2)).transpose(1, 2)
        count = (inputs.lengths * self.head_dim)[:, None, None, None].clamp_min(2)
        mean = y.sum((2, 3), keepdim=True) / count
        if not self.training:
            return y - mean
        away = inputs.zero((y - mean).transpose(1, 2))
        spread = (away.square().sum((1, 3))[:, :, None, None] / (count - 1)).sqrt()
        return y - mean - spread * torch.randn_like(y)

    def _mixing(self, x: Tensor, inputs: Inputs) -> Mixing | None:
        return None if self.perturb else super()._mixing(x, inputs)


def _norms(keys: Tensor, inputs: Inputs) -> Tensor:
    """Return the norms of key heads (B, G, T, K) over real tokens and channels, (B, G)."""
    real = inputs.zero(keys.detach().transpose(1, 2)).to(wide(keys.dtype))
    return real.square().sum((1, 3)).sqrt()
