"""Linformer: attention to a fixed number of linear combinations of the keys."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from anyformer.contract import Inputs, Mixer, MixerInfo, Mixing
from anyformer.layers.heads import head_width, merge_heads, split_heads
from anyformer.layers.linear import Linear
from anyformer.mixers import register_mixer
from anyformer.ops.attention import attention

SHARING = ("none", "headwise", "key_value")


@register_mixer(
    "linformer",
    examples=[
        {"causal": False, "max_length": 64, "proj_len": 7},
        {"causal": False, "max_length": 64, "proj_len": 5, "sharing": "key_value"},
    ],
)
class Linformer(Mixer):
    """Keys and values projected along time to a fixed length (Wang 2020, eq. 7): softmax(Q (E K)^T / sqrt(K)) F V.

    E and F (proj_len, max_length) are learned; a shorter sequence uses their first columns. They have
    separate weights for every position, so no position scheme is needed.

    Args:
        num_heads: heads H.
        max_length: the longest sequence.
        proj_len: projected length, the paper's k.
        sharing: ``"none"``: E and F for each head; ``"headwise"``: the same for all heads; ``"key_value"``: also E = F.
        causal: must be False, since each projected key mixes the whole sequence.
    """

    class Options(Mixer.Options):
        num_heads: int = 4
        max_length: int = 1024
        proj_len: int = 64
        sharing: str = "headwise"
        causal: bool = False

        def info(self) -> MixerInfo:
            self.needs_causal(False, "each projected key mixes the whole sequence")
            if self.max_length < 1 or self.proj_len < 1:
                raise ValueError(
                    f"max_length and proj_len must be at least 1, got {self.max_length} and {self.proj_len}"
                )
            if self.sharing not in SHARING:
                raise ValueError(f"sharing must be one of {', '.join(SHARING)}; got {self.sharing!r}")
            return MixerInfo(reach=(None, None), cost="n", memory="n", max_length=self.max_length)

    options: Options

    def __init__(self, dim: int, **options: Any) -> None:
        super().__init__(dim, **options)
        o = self.options
        self.num_heads = o.num_heads
        head_width(dim, o.num_heads, None)
        heads = o.num_heads if o.sharing == "none" else 1
        self.qkv = Linear(dim, 3 * dim, bias=False)
        self.out = Linear(dim, dim, bias=False)
        self.key_proj = nn.Parameter(torch.randn(heads, o.proj_len, o.max_length) * o.max_length**-0.5)
        if o.sharing == "key_value":
            self.register_parameter("value_proj", None)
        else:
            self.value_proj = nn.Parameter(torch.randn(heads, o.proj_len, o.max_length) * o.max_length**-0.5)

    def _project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return q (B, H, T, K), projected keys (B, H, proj_len, K), v (B, H, T, K) and F (heads, proj_len, T)."""
        T = x.shape[1]
        q, k, v = (split_heads(t, self.num_heads) for t in self.qkv(x).chunk(3, -1))
        value_proj = self.key_proj if self.value_proj is None else self.value_proj
        # k and v are zero where masked, so masked tokens add nothing
        return q, self.key_proj[..., :T].to(k.dtype) @ k, v, value_proj[..., :T].to(v.dtype)

    def _forward(self, x: Tensor, inputs: Inputs) -> Tensor:
        q, keys, v, value_proj = self._project(x)
        return self.out(merge_heads(attention(q, keys, value_proj @ v)))

    def _mixing(self, x: Tensor, inputs: Inputs) -> Mixing:
        q, keys, v, value_proj = self._project(x)
        matrix = attention(q, keys, value_proj.expand(*keys.shape[:3], -1))
        return Mixing(matrix, v, lambda y: inputs.zero(self.out(merge_heads(y))))
