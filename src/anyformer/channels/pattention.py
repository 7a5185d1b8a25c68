"""Attention to parameter tokens as a feed-forward network."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from anyformer.channels import register_channel
from anyformer.contract import Inputs, Mixer, MixerInfo
from anyformer.layers.pattention import SCORES, Pattention


@register_channel("pattention", examples=[{"score": score} for score in SCORES])
class PattentionChannel(Mixer):
    """Attention to n parameter tokens instead of the two maps of an MLP (Wang 2024, eq. 9).

    Args:
        hidden_dim: parameter tokens n, by default ``factor`` * dim.
        score, scale: see :class:`anyformer.layers.pattention.Pattention`.
    """

    class Options(Mixer.Options):
        hidden_dim: int | None = None
        factor: float = 4
        score: str = "l2_norm_gelu"
        scale: float | None = None

        def info(self) -> MixerInfo:
            return MixerInfo(reach=(0, 0))

    options: Options

    def __init__(self, dim: int, **options: Any) -> None:
        super().__init__(dim, **options)
        o = self.options
        tokens = round(dim * o.factor) if o.hidden_dim is None else o.hidden_dim
        self.tokens = Pattention(dim, dim, tokens, score=o.score, scale=o.scale)

    def _forward(self, x: Tensor, inputs: Inputs) -> Tensor:
        return self.tokens(x)
