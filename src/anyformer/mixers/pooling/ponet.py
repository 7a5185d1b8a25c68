"""PoNet: pooling at three ranges in place of attention."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import max_pool1d, pad

from anyformer.contract import Inputs, Mixer, MixerInfo
from anyformer.layers.heads import head_width, merge_heads, split_heads
from anyformer.layers.linear import Linear
from anyformer.mixers import register_mixer
from anyformer.ops.attention import attention


@register_mixer(
    "ponet",
    examples=[{}, {"segment_len": 4, "num_heads": 2}, {"segment_len": 1000, "local_window": 5}],
)
class PoNet(Mixer):
    """y_t = g * o_t + s_t * o_t + l_t: global, segment and local pooling (Tan 2022, section 3).

    g is softmax attention with the mean query over all tokens; s_t is the maximum over the token's segment, l_t that
    over its neighbours, per channel; o_t is a map of the token itself. There are six linear maps.

    Args:
        num_heads: heads H of the global query.
        segment_len: tokens of a segment, counted from the first token; the paper also uses sentences.
        local_window: neighbours, the token included; odd.
        causal: must be False: the mean is over the whole sequence.
    """

    class Options(Mixer.Options):
        num_heads: int = 4
        segment_len: int = 16
        local_window: int = 3
        causal: bool = False

        def info(self) -> MixerInfo:
            self.needs_causal(False, "it pools over the whole sequence")
            if self.segment_len < 1 or self.local_window < 1 or self.local_window % 2 == 0:
                raise ValueError(
                    f"segment_len must be at least 1 and local_window odd, "
                    f"got {self.segment_len} and {self.local_window}"
                )
            return MixerInfo(reach=(None, None))

    options: Options

    def __init__(self, dim: int, **options: Any) -> None:
        super().__init__(dim, **options)
        o = self.options
        head_width(dim, o.num_heads, None)
        self.num_heads, self.segment_len, self.local_window = o.num_heads, o.segment_len, o.local_window
        names = ("query", "key", "value", "segment", "local", "output")
        self.maps = nn.ModuleDict({name: Linear(dim, dim) for name in names})

    def _forward(self, x: Tensor, inputs: Inputs) -> Tensor:
        B, T, D = x.shape
        if T == 0:
            return x
        q, k, v, segment, local, o = (layer(x) for layer in self.maps.values())
        count = inputs.lengths.clamp_min(1)[:, None, None].to(x.dtype)
        mean = inputs.zero(q).sum(1, keepdim=True) / count
        seen = None if inputs.mask is None else inputs.mask[:, None, None]
        g = attention(*(split_heads(t, self.num_heads) for t in (mean, k, v)), visible=seen)
        return (merge_heads(g) + self._segments(inputs.zero(segment, -torch.inf))) * o + self._neighbours(
            inputs.zero(local, -torch.inf)
        )

    def _segments(self, x: Tensor) -> Tensor:
        """Return each segment's maximum at all its tokens; x is -inf at masked tokens."""
        B, T, D = x.shape
        n = min(self.segment_len, T)
        top = pad(x, (0, 0, 0, -T % n), value=-torch.inf).reshape(B, -1, n, D).amax(2)
        return top.nan_to_num(neginf=0.0).repeat_interleave(n, 1)[:, :T]

    def _neighbours(self, x: Tensor) -> Tensor:
        w = self.local_window
        return max_pool1d(x.transpose(1, 2), w, 1, w // 2).transpose(1, 2).nan_to_num(neginf=0.0)
