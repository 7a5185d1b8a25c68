"""Attention to a random subset of the keys in training, and to all keys in evaluation."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from anyformer.caches import Cache
from anyformer.contract import Inputs, MixerInfo, SideInput, take_tokens
from anyformer.mixers import register_mixer
from anyformer.mixers.softmax._members import among
from anyformer.mixers.softmax.attention import Attention
from anyformer.ops.masks import Blocks, Causal, MaskSpec
from anyformer.ops.sparse_attention import sparse_attention
from anyformer.positions import position_info


@register_mixer(
    "subsampled_attention",
    examples=[
        {"keep": 0.5},
        {"keep": 0.3, "causal": False, "num_kv_heads": 2},
        {"local_window": 6},
        {"local_window": 6, "causal": False},
    ],
)
class SubsampledAttention(Attention):
    """Softmax attention to a random subset of the keys in training (Hussain 2023, section 4).

    Each sequence draws a share ``keep`` of its keys, the same for all queries and heads, which gives a smaller dense
    attention. Or, with ``local_window``, tokens attend within windows whose borders are drawn, so that near keys are
    seen more often. Causality follows the order of the tokens. Every layer draws anew in every step, until the last
    ``dense_share`` of the training, which sees all keys, as evaluation does.

    ``call.side["pathway"]`` (B,) int64 makes evaluation draw, too, seeded by its first number and the layer's index;
    :func:`anyformer.generate.ensemble.self_ensemble` averages over such draws.

    Args:
        keep: share of the keys, rounded up.
        local_window: tokens of a window, instead of ``keep``.
        dense_share: share of the training steps, the last ones, that see all keys.
        num_heads, num_kv_heads: as for ``attention``.
        positions: a scheme that rotates queries and keys, or none.
    """

    class Options(Attention.Options, only=("num_heads", "num_kv_heads", "positions", "causal")):
        keep: float = 0.25
        local_window: int | None = None
        dense_share: float = 0.1

        def info(self) -> MixerInfo:
            if not 0 < self.keep <= 1 or not 0 <= self.dense_share <= 1:
                raise ValueError(
                    "keep must be above 0 and at most 1, dense_share from 0 to 1; "
                    f"got {self.keep} and {self.dense_share}"
                )
            if self.local_window is not None and self.local_window < 2:
                raise ValueError(f"local_window must be at least 2, got {self.local_window}")
            facts = position_info(self.positions)
            if facts.scores or facts.weighs:
                raise ValueError(
                    f"positions={self.positions!r} do not go with subsampled_attention: they change scores"
                )
            info = super().info()
            excuse = {"modes": "training draws the keys that are seen, evaluation sees all"}
            if self.keep == 1 and self.local_window is None:
                excuse = {}
            side = {"pathway": SideInput("sample")}
            if self.local_window is None:  # windows are of neighbours, whatever they are part of
                side |= info.side
            return dataclasses.replace(info, side=side, exceptions={**info.exceptions, **excuse})

    options: Options

    def __init__(self, dim: int, **options: Any) -> None:
        super().__init__(dim, **options)
        o = self.options
        self.keep, self.local_window, self.dense_share = o.keep, o.local_window, o.dense_share
        self.register_buffer("dense", torch.tensor(False))

    dense: Tensor

    def after_step(self, notes: Mapping[str, Tensor], progress: float) -> None:
        """Switch to all keys in the last ``dense_share`` of the training."""
        self.dense.fill_(progress >= 1 - self.dense_share)

    def _draws(self, inputs: Inputs) -> torch.Generator | None:
        """Return the generator of the draws, None = all keys are seen."""
        pathway = inputs.call.side.get("pathway")
        if pathway is None:
            return None if not self.training or bool(self.dense) else torch.default_generator
        layer = inputs.call.shared.setdefault("subsampled layers", [])
        layer.append(self)
        return torch.Generator().manual_seed(int(pathway.flatten()[0]) * 4099 + len(layer))

    def _attend_whole(self, q: Tensor, keys: Cache, inputs: Inputs) -> Any:
        generator = self._draws(inputs)
        if generator is None or q.shape[2] == 0 or (self.keep == 1 and self.local_window is None):
            return super()._attend_whole(q, keys, inputs)
        if self.local_window is not None:
            return self._attend_windows(q, keys, inputs, generator)
        number = inputs.index if inputs.mask is None else inputs.zero(inputs.index + 1) - 1
        slots, count = self._sample(number, generator)
        chosen = {name: take_tokens(t.transpose(1, 2), slots).transpose(1, 2) for name, t in keys.items()}
        k_number = torch.where(count, number.gather(1, slots), -1)[:, None, None, :]
        seen = (k_number >= 0) & (k_number <= number[:, None, :, None]) if self.causal else k_number >= 0
        return self._attend(q, chosen, inputs, None, visible=among(seen, chosen, inputs))

    def _sample(self, number: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return drawn keys (B, m), ceil(keep n) for n tokens, and the real ones among them."""
        luck = torch.rand(number.shape, generator=generator, device="cpu").to(number.device)
        size = ((number >= 0).sum(1) * self.keep).ceil().long()
        most = math.ceil(number.shape[1] * self.keep)
        slots = luck.masked_fill(number < 0, -1.0).topk(most, 1).indices
        return slots, torch.arange(slots.shape[1], device=number.device) < size[:, None]

    def _attend_windows(self, q: Tensor, keys: Cache, inputs: Inputs, generator: torch.Generator) -> Tensor:
        assert self.local_window is not None
        shift = int(torch.randint(self.local_window, (), generator=generator))
        spec: MaskSpec = Blocks(self.local_window, shift)
        index = inputs.zero(inputs.index + 1) - 1
        y: Tensor = sparse_attention(
            q, keys["k"], keys["v"], spec & Causal() if self.causal else spec, q_index=index, k_index=index
        )
        return y
