"""Attention over the token's segment and a memory of the tokens before it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from anyformer.caches import Cache, append, empty_cache, key_index
from anyformer.contract import Inputs, Mixer, MixerInfo
from anyformer.layers.heads import head_width, merge_heads, split_heads
from anyformer.layers.linear import Linear
from anyformer.mixers import register_mixer
from anyformer.ops.attention import attention
from anyformer.ops.masks import Causal, Segments
from anyformer.ops.sparse_attention import sparse_attention
from anyformer.positions import create_position, require
from anyformer.state import State


@register_mixer("segment_attention", examples=[{"segment_len": 4, "memory_len": 6}])
class SegmentAttention(Mixer):
    """Transformer-XL's attention (Dai 2019, section 3.2): causal within the segment, plus the memory before it.

    A query at index i sees keys from floor(i / segment_len) * segment_len - memory_len up to i. Segments are counted
    from the first token, so that results do not depend on how a stream is split. Inside
    :class:`~anyformer.wrappers.segments.Segments` of the same length the memory gets no gradient, as in the paper.

    Args:
        segment_len, memory_len: tokens of a segment, and tokens before it that stay visible.
        positions: a position scheme by name, by default the paper's relative one.
    """

    class Options(Mixer.Options):
        num_heads: int = 4
        segment_len: int = 64
        memory_len: int = 64
        positions: str | dict[str, Any] = "transformer_xl"

        def info(self) -> MixerInfo:
            self.needs_causal(True, "its memory lies before a segment")
            if self.segment_len < 1 or self.memory_len < 0:
                raise ValueError(
                    f"segment_len must be at least 1 and memory_len at least 0, "
                    f"got {self.segment_len} and {self.memory_len}"
                )
            return MixerInfo(
                reach=(self.segment_len + self.memory_len - 1, 0), cost="n", memory="n", state="constant"
            )

    options: Options

    def __init__(self, dim: int, **options: Any) -> None:
        super().__init__(dim, **options)
        o = self.options
        K = head_width(dim, o.num_heads, None)
        self.num_heads, self.head_dim = o.num_heads, K
        self.segment_len, self.memory_len = o.segment_len, o.memory_len
        options = {"name": o.positions} if isinstance(o.positions, str) else dict(o.positions)
        require("segment_attention", options)
        self.positions = create_position(**options, dim=dim, num_heads=o.num_heads, head_dim=K)
        self.qkv = Linear(dim, 3 * dim, bias=False)
        self.out = Linear(dim, dim, bias=False)

    def _forward(self, x: Tensor, inputs: Inputs) -> Tensor:
        return self._stream(x, self._init_state(x.shape[0], x.device, x.dtype), inputs)[0]

    def _init_state(self, batch_size: int, device: torch.device, dtype: torch.dtype) -> State:
        shape = (batch_size, self.num_heads, self.head_dim)
        return empty_cache(shape, device, dtype, positions=self.positions.scores)

    def _stream(self, x: Tensor, state: State, inputs: Inputs) -> tuple[Tensor, State]:
        q, k, v = (split_heads(t, self.num_heads) for t in self.qkv(x).chunk(3, -1))
        q, k = self.positions.rotate(q, k, inputs.positions)
        new = {"k": k, "v": v}
        if self.positions.scores:
            new["position"] = inputs.positions[:, None, :, None]
        keep = self.segment_len + self.memory_len - 1
        both, kept = append(state, new, inputs, keep)
        y = self._attend(q, both, inputs)
        return self.out(merge_heads(y)), kept

    def _attend(self, q: Tensor, keys: Cache, inputs: Inputs) -> Tensor:
        k, v = keys["k"], keys["v"]
        if q.shape[2] == 0:
            return torch.zeros_like(q)
        index, past = inputs.zero(inputs.index + 1) - 1, key_index(keys, inputs)
        pos = keys["position"][:, 0, :, 0] if self.positions.scores else None
        scored = pos is not None
        factors = None if pos is None else self.positions.factors(q, k, inputs.positions, pos)
        if factors is not None:
            q, k, scored = torch.cat([q, factors[0]], -1), torch.cat([k, factors[1]], -1), False
        scale = self.head_dim**-0.5
        if q.shape[2] > self.segment_len:
            spec = Causal() & Segments(self.segment_len, self.memory_len)
            score, q_pos = (self._tile_score, inputs.positions) if scored else (None, None)
            return sparse_attention(
                q, k, v, spec, q_index=index, k_index=past, q_pos=q_pos, k_pos=pos, score=score, scale=scale
            )
        bias = self.positions.score(q, k, inputs.positions, pos) if scored and pos is not None else None
        age, since_start = index[:, :, None] - past[:, None], index[:, :, None] % self.segment_len
        seen = (age >= 0) & (age <= since_start + self.memory_len) & (past >= 0)[:, None]
        return attention(q, k, v, visible=seen[:, None], bias=bias, scale=scale)

    def _tile_score(self, s: Tensor, q: Tensor, k: Tensor, q_pos: Tensor, k_pos: Tensor) -> Tensor:
        bias = self.positions.score(q, k, q_pos, k_pos)
        return s if bias is None else s + bias
