"""Attention that reads selected pages of the cache."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from anyformer.caches.numbered import widen
from anyformer.contract import MixerInfo
from anyformer.mixers import register_mixer
from anyformer.mixers.sparse._frugal import FrugalAttention
from anyformer.ops.gathered_attention import gathered_attention
from anyformer.ops.select import best_keys, page_bound
from anyformer.state import State


@register_mixer(
    "page_attention",
    examples=[{"page": 4, "pages": 2}, {"page": 3, "pages": 2, "num_kv_heads": 2}],
)
class PageAttention(FrugalAttention):
    """Attention to a query's own page and the ``pages`` of the highest score bounds (Tang 2024, Quest), in evaluation.

    The minimum and the maximum of each channel over a page bound the score of its keys
    (:func:`anyformer.ops.select.page_bound`). All keys stay in the cache, as another query may read other pages.

    Args:
        num_heads, num_kv_heads, positions: see :class:`~anyformer.mixers.sparse._frugal.FrugalAttention`.
        page: tokens of a page.
        pages: pages read beside the query's own.
    """

    class Options(FrugalAttention.Options):
        page: int = 16
        pages: int = 4

        def info(self) -> MixerInfo:
            if self.page < 1 or self.pages < 0:
                raise ValueError(
                    f"page must be at least 1 and pages not negative, got {self.page} and {self.pages}"
                )
            return super().info()

    options: Options

    def __init__(self, dim: int, **options: Any) -> None:
        super().__init__(dim, **options)
        self.page, self.pages = self.options.page, self.options.pages

    def _init_state(self, batch_size: int, device: torch.device, dtype: torch.dtype) -> State:
        state = super()._init_state(batch_size, device, dtype)
        return {**state, "low": state["k"], "high": state["k"]}

    def _facts(self, q: Tensor, number: Tensor, new: State, state: State, size: int) -> State:
        page = number.div(self.page, rounding_mode="floor")
        low, high = widen(state["low"], state["high"], new["k"].detach(), page, -(-size // self.page))
        return {"low": low, "high": high}

    def _choose(self, q: Tensor, number: Tensor, state: State) -> Tensor:
        own = number.div(self.page, rounding_mode="floor")[:, None, :, None]
        finished = torch.arange(state["low"].shape[2], device=q.device) < own
        low, high = (
            state[name]
            .masked_fill(~state[name].isfinite(), 0.0)
            .repeat_interleave(self.num_heads // self.num_kv_heads, 1)
            for name in ("low", "high")
        )
        best = best_keys(page_bound(q.detach(), low, high), self.pages, finished)
        chosen = torch.cat([own.expand(-1, self.num_heads, -1, -1), best], -1)[..., None]
        slots = chosen * self.page + torch.arange(self.page, device=q.device)
        slots = slots.masked_fill((chosen < 0) | (slots > number[:, None, :, None, None]), -1)
        return gathered_attention(q, state["k"], state["v"], slots.flatten(3))
