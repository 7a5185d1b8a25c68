"""Attention among tokens with the same hash."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize

from anyformer.caches import append, empty_cache, key_index
from anyformer.contract import Inputs, Mixer, MixerInfo, Mixing
from anyformer.layers.heads import head_width, merge_heads, split_heads
from anyformer.layers.linear import Linear
from anyformer.mixers import register_mixer
from anyformer.ops.bucket_attention import bucket_attention
from anyformer.ops.select import hash_buckets
from anyformer.precision import no_autocast
from anyformer.state import State


@register_mixer(
    "hash_attention",
    examples=[{"num_buckets": 2}, {"num_buckets": 6, "num_heads": 2, "causal": False}],
)
class HashAttention(Mixer):
    """Softmax attention to all tokens of the same bucket (Pagliardini 2023, section 3.2; hashes of Kitaev 2020).

    Keys are normalised queries, k = q / |q|, hashed by direction, so that tokens with large mutual scores mostly share
    a bucket. A causal token sees the earlier ones of its bucket, not itself; the first of a bucket sees nothing.

    Args:
        num_heads: heads H, each with its own hashes.
        num_buckets: an even number.
        seed: of the random directions.
    """

    class Options(Mixer.Options):
        num_heads: int = 4
        num_buckets: int = 16
        seed: int = 0

        def info(self) -> MixerInfo:
            if self.num_buckets < 2 or self.num_buckets % 2:
                raise ValueError(f"num_buckets must be even and at least 2, got {self.num_buckets}")
            return MixerInfo(
                reach=(None, 0 if self.causal else None),
                cost="n^2",
                memory="n^2",
                state="n" if self.causal else "none",
            )

    options: Options

    def __init__(self, dim: int, **options: Any) -> None:
        super().__init__(dim, **options)
        o = self.options
        K = head_width(dim, o.num_heads, None)
        self.num_heads, self.head_dim, self.causal = o.num_heads, K, o.causal
        self.q = Linear(dim, dim, bias=False)
        self.v = Linear(dim, dim, bias=False)
        self.out = Linear(dim, dim, bias=False)
        generator = torch.Generator().manual_seed(o.seed)
        drawn = torch.randn(o.num_heads, K, o.num_buckets // 2, generator=generator, device="cpu")
        self.register_buffer("directions", normalize(drawn, dim=1))

    directions: Tensor

    def _project(self, x: Tensor, inputs: Inputs) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return q, k, v (B, H, T, K) and buckets (B, H, T), -1 for masked tokens."""
        v = split_heads(self.v(x), self.num_heads)
        with no_autocast(x):  # not autocast: rounding would change the buckets
            q = split_heads(self.q.exact(x), self.num_heads)
            bucket = hash_buckets(q, self.directions)
        if inputs.mask is not None:
            bucket = bucket.masked_fill(~inputs.mask[:, None], -1)
        return q, normalize(q, dim=-1), v, bucket

    def _forward(self, x: Tensor, inputs: Inputs) -> Tensor:
        q, k, v, bucket = self._project(x, inputs)
        y = bucket_attention(q, k, v, bucket, bucket, causal=self.causal, strict=self.causal)
        return self.out(merge_heads(y))

    def _init_state(self, batch_size: int, device: torch.device, dtype: torch.dtype) -> State:
        bucket = torch.zeros(batch_size, self.num_heads, 0, 1, device=device, dtype=torch.int64)
        shape = (batch_size, self.num_heads, self.head_dim)
        return {**empty_cache(shape, device, dtype), "bucket": bucket}

    def _stream(self, x: Tensor, state: State, inputs: Inputs) -> tuple[Tensor, State]:
        q, k, v, bucket = self._project(x, inputs)
        both, kept = append(state, {"k": k, "v": v, "bucket": bucket[..., None]}, inputs)
        if q.shape[2] == 0:
            return torch.zeros_like(x), kept
        found = key_index(both, inputs)[:, None].expand(-1, self.num_heads, -1)
        y = bucket_attention(
            q,
            both["k"],
            both["v"],
            bucket,
            torch.where(found < 0, -1, both["bucket"][..., 0]),
            q_index=inputs.index[:, None].expand_as(bucket),
            k_index=found.clamp_min(0),
            causal=True,
            strict=True,
        )
        return self.out(merge_heads(y)), kept

    def _mixing(self, x: Tensor, inputs: Inputs) -> Mixing:
        q, k, v, bucket = self._project(x, inputs)
        each = torch.eye(x.shape[1], device=x.device, dtype=x.dtype).expand(*v.shape[:3], -1)
        matrix = bucket_attention(q, k, each, bucket, bucket, causal=self.causal, strict=self.causal)
        return Mixing(matrix, v, lambda y: inputs.zero(self.out(merge_heads(y))))
