"""LongT5's transient global attention."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from anyformer.contract import Inputs, Mixer, MixerInfo
from anyformer.layers.heads import head_width, merge_heads, split_heads
from anyformer.layers.linear import Linear
from anyformer.layers.norms.rms_norm import RMSNorm
from anyformer.mixers import register_mixer
from anyformer.ops.attention import attention, merge
from anyformer.ops.masks import Window
from anyformer.ops.sparse_attention import sparse_attention
from anyformer.positions.t5 import T5


@register_mixer(
    "transient_global",
    examples=[
        {"window": 4, "block": 3, "causal": False},
        {"window": 1, "block": 7, "causal": False, "head_dim": 6},
    ],
)
class TransientGlobal(Mixer):
    """Attention to a window and to the sums of all blocks of tokens, in one softmax (Guo 2021, section 3.1).

    g_m = norm(sum of x_j over block m), recomputed in each layer; y_i is attention over the keys and values of the
    window of i and of all g, by the same projections. T5 distance biases are added to the scores, one table for token
    distances within the window, another for block distances. Tokens after the last whole block belong to that block; a
    sequence shorter than a block has no globals.

    Time grows with n^2 / ``block``.

    Args:
        num_heads: heads H.
        head_dim: width of a head, by default dim / num_heads.
        window: tokens to each side, the token included; the paper's radius is one less.
        block: tokens of a block.
        num_buckets, max_distance: of the biases, see ``t5``.
        norm_eps: of the norm of the sums.
    """

    class Options(Mixer.Options):
        num_heads: int = 4
        head_dim: int | None = None
        window: int = 64
        block: int = 16
        num_buckets: int = 32
        max_distance: int = 128
        norm_eps: float = 1e-6
        causal: bool = False

        def info(self) -> MixerInfo:
            self.needs_causal(False, "a block's sum is seen by its tokens")
            if self.window < 1 or self.block < 1:
                raise ValueError(f"window and block must be at least 1, got {self.window} and {self.block}")
            return MixerInfo(reach=(None, None), cost="n^2", memory="n^2")

    options: Options

    def __init__(self, dim: int, **options: Any) -> None:
        super().__init__(dim, **options)
        o = self.options
        K = head_width(dim, o.num_heads, o.head_dim)
        self.num_heads, self.window, self.block = o.num_heads, o.window, o.block
        self.q, self.k, self.v = (Linear(dim, o.num_heads * K, bias=False) for _ in range(3))
        self.out = Linear(o.num_heads * K, dim, bias=False)
        self.norm = RMSNorm(dim, eps=o.norm_eps)
        self.near, self.far = (
            T5(
                dim,
                o.num_heads,
                K,
                num_buckets=o.num_buckets,
                max_distance=o.max_distance,
                bidirectional=True,
            )
            for _ in range(2)
        )

    def _globals(self, x: Tensor, inputs: Inputs) -> tuple[Tensor, Tensor, Tensor]:
        """Return the globals (B, M, D), their number per sample (B,), and the block of each token (B, T)."""
        B, T, D = x.shape
        M = T // self.block
        whole = inputs.lengths // self.block
        of = torch.minimum(inputs.index // self.block, (whole[:, None] - 1).clamp_min(0))
        sums = x.new_zeros(B, M, D)
        if M:
            sums = sums.scatter_add(1, of.clamp_max(M - 1)[..., None].expand(B, T, D), x)
        return self.norm(sums), whole, of

    def _forward(self, x: Tensor, inputs: Inputs) -> Tensor:
        q, k, v = (split_heads(layer(x), self.num_heads) for layer in (self.q, self.k, self.v))
        index = None if inputs.mask is None else inputs.zero(inputs.index + 1) - 1
        pos = inputs.positions
        spec = Window(self.window - 1, self.window - 1)
        options: dict[str, Any] = {"q_index": index, "k_index": index, "q_pos": pos, "k_pos": pos}
        near = sparse_attention(q, k, v, spec, score=self._score, return_lse=True, **options)
        sums, count, of = self._globals(x, inputs)
        k, v = (split_heads(layer(sums), self.num_heads) for layer in (self.k, self.v))
        place = torch.arange(sums.shape[1], device=x.device)
        bias = self.far.score(q, k, of.to(pos.dtype), place.to(pos.dtype).expand(len(x), -1))
        there = (place < count[:, None])[:, None, None]
        far = attention(q, k, v, visible=there, bias=bias, return_lse=True)
        return self.out(merge_heads(merge([near, far])[0]))

    def _score(self, s: Tensor, q: Tensor, k: Tensor, q_pos: Tensor, k_pos: Tensor) -> Tensor:
        return s + self.near.score(q, k, q_pos, k_pos)
