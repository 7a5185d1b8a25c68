"""Extractors: sums over the past with learned weights, times a function of the current token."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import conv1d

from anyformer.contract import Inputs, Mixer, MixerInfo
from anyformer.layers.conv import join, recent
from anyformer.layers.linear import Linear
from anyformer.mixers import register_mixer
from anyformer.ops.short_conv import short_conv
from anyformer.registry import nearest
from anyformer.state import State

WEIGHTS = ("matrix", "vector", "scalar", "mean")


@register_mixer(
    "extractor",
    examples=[{}, *({"weights": w, "context_len": 6} for w in WEIGHTS)],
)
class Extractor(Mixer):
    """y_t = (sum_{i < L} W_i x_{t-i}) * (A x_t + b): extraction times adjustment (Chen 2023, section III).

    The weights depend on the distance to a token, not on its content. The paper's variants differ in W_i, from the
    richest to the cheapest: ``matrix`` (SHE), ``vector``, one weight a channel (HE), ``scalar`` (WE), and ``mean``, 1
    over the number of tokens seen (ME). The cheaper ones map x once, before the sum.

    Args:
        context_len: tokens L in a sum, the current one included.
        weights: ``matrix``, ``vector``, ``scalar`` or ``mean``.
    """

    class Options(Mixer.Options):
        context_len: int = 64
        weights: str = "vector"

        def info(self) -> MixerInfo:
            self.needs_causal(True, "it sums over the past")
            if self.context_len < 2:
                raise ValueError(f"context_len must be at least 2, got {self.context_len}")
            if self.weights not in WEIGHTS:
                raise ValueError(f"unknown weights {self.weights!r}{nearest(self.weights, list(WEIGHTS))}")
            return MixerInfo(reach=(self.context_len - 1, 0), state="constant")

    options: Options

    def __init__(self, dim: int, **options: Any) -> None:
        super().__init__(dim, **options)
        o = self.options
        self.past, self.kind = o.context_len - 1, o.weights
        shape = {"matrix": (dim, dim), "vector": (dim, 1), "scalar": (1, 1)}.get(o.weights)
        spread = (o.context_len * (dim if o.weights == "matrix" else 1)) ** -0.5
        self.weight = None if shape is None else nn.Parameter(torch.randn(*shape, o.context_len) * spread)
        self.value = nn.Identity() if o.weights == "matrix" else Linear(dim, dim, bias=False)
        self.adjust = Linear(dim, dim)

    def _extract(self, joined: Tensor, inputs: Inputs) -> Tensor:
        """Return the sums (B, T, D) over past and new inputs (B, L - 1 + T, D), zero before the first token."""
        B, S, D = joined.shape
        if self.weight is None:
            padded = torch.cat([joined.new_zeros(B, 1, D), joined.cumsum(1)], 1)
            total = padded[:, self.past + 1 :] - padded[:, : S - self.past]
            return total / (inputs.index + 1).clamp_max(self.past + 1)[..., None].to(joined.dtype)
        weight = self.weight.to(joined.dtype).flip(-1)  # weight 0 is the current token's, the last tap
        if self.kind == "matrix":
            return conv1d(joined.transpose(1, 2), weight).transpose(1, 2)
        return short_conv(joined, weight[:, 0].expand(D, -1))[:, self.past :]

    def _mix(self, x: Tensor, past: Tensor | None, inputs: Inputs) -> tuple[Tensor, Tensor]:
        values = self.value(x)
        y = self._extract(join(values, past, self.past), inputs) if x.shape[1] else x
        return y * self.adjust(x), recent(values, past, self.past, inputs.mask)

    def _forward(self, x: Tensor, inputs: Inputs) -> Tensor:
        return self._mix(x, None, inputs)[0]

    def _init_state(self, batch_size: int, device: torch.device, dtype: torch.dtype) -> State:
        return {"recent": torch.zeros(batch_size, self.past, self.dim, device=device, dtype=dtype)}

    def _stream(self, x: Tensor, state: State, inputs: Inputs) -> tuple[Tensor, State]:
        y, past = self._mix(x, state["recent"], inputs)
        return y, {"recent": past}
