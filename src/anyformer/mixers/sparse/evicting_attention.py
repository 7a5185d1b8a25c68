"""Attention that evicts a part of the prompt from the cache once it has been read."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import max_pool1d, pad

from anyformer.contract import MixerInfo
from anyformer.mixers import register_mixer
from anyformer.mixers.sparse._frugal import FrugalAttention
from anyformer.ops.attention import attention
from anyformer.ops.select import best_keys
from anyformer.state import State


@register_mixer(
    "evicting_attention",
    examples=[
        {"prompt": 12, "window": 3, "keep": 4, "pool": 3},
        {"prompt": 9, "window": 2, "keep": 2, "pool": 1, "num_kv_heads": 2},
    ],
)
class EvictingAttention(FrugalAttention):
    """Attention to the prompt's last tokens and the keys that these attended to most (Li 2024, SnapKV), in evaluation.

    The first ``prompt`` tokens see all before them. Later ones see the prompt's last ``window`` tokens, the ``keep``
    other prompt tokens of the largest attention from that window (per head, max-pooled over ``pool`` neighbours), and
    all tokens after the prompt. Evicted keys are evicted for all queries; here they are masked, their memory is not
    freed.

    Args:
        num_heads, num_kv_heads, positions: see :class:`~anyformer.mixers.sparse._frugal.FrugalAttention`.
        prompt: tokens of the prompt; a shorter sequence is seen whole.
        window: last tokens of the prompt, whose attention selects.
        keep: earlier tokens of the prompt that are kept.
        pool: neighbours that are pooled, odd.
    """

    class Options(FrugalAttention.Options):
        prompt: int = 256
        window: int = 16
        keep: int = 48
        pool: int = 5

        def info(self) -> MixerInfo:
            if not 1 <= self.window < self.prompt or self.keep < 0:
                raise ValueError(
                    f"window must be at least 1 and below prompt={self.prompt}, keep not negative; "
                    f"got {self.window} and {self.keep}"
                )
            if self.pool < 1 or self.pool % 2 == 0:
                raise ValueError(f"pool must be odd, got {self.pool}")
            return super().info()

    options: Options

    def __init__(self, dim: int, **options: Any) -> None:
        super().__init__(dim, **options)
        o = self.options
        self.prompt, self.window, self.keep, self.pool = o.prompt, o.window, o.keep, o.pool

    def _init_state(self, batch_size: int, device: torch.device, dtype: torch.dtype) -> State:
        wide = torch.promote_types(dtype, torch.float32)
        weight = torch.zeros(batch_size, self.num_heads, self.prompt - self.window, device=device, dtype=wide)
        return {**super()._init_state(batch_size, device, dtype), "weight": weight}

    @torch.no_grad()
    def _facts(self, q: Tensor, number: Tensor, new: State, state: State, size: int) -> State:
        """Return the attention of the prompt's last queries to its other keys so far."""
        choosing = (number >= self.prompt - self.window) & (number < self.prompt)
        few = choosing.byte().topk(min(self.window, q.shape[2]), 1).indices
        choosing, number = choosing.gather(1, few), number.gather(1, few)
        q = q.gather(2, few[:, None, :, None].expand(-1, self.num_heads, -1, self.head_dim))
        keys = state["k"].repeat_interleave(self.num_heads // self.num_kv_heads, 1).to(state["weight"].dtype)
        scores = q.to(keys.dtype) @ keys.mT * self.head_dim**-0.5
        place = torch.arange(size, device=q.device)
        scores = scores.masked_fill(place > number.clamp_min(0)[:, None, :, None], -torch.inf)
        weight = (scores.softmax(-1) * choosing[:, None, :, None]).sum(2)[..., : self.prompt - self.window]
        return {"weight": state["weight"] + pad(weight, (0, state["weight"].shape[2] - weight.shape[2]))}

    def _choose(self, q: Tensor, number: Tensor, state: State) -> Tensor:
        weight, size = state["weight"], state["k"].shape[2]
        pooled = max_pool1d(weight, self.pool, 1, self.pool // 2)
        kept = torch.zeros_like(weight, dtype=torch.bool).scatter(2, best_keys(pooled, self.keep), True)
        kept = pad(kept, (0, max(0, size - kept.shape[2])), value=True)[..., None, :size]
        place, at = torch.arange(size, device=q.device), number[:, None, :, None]
        return attention(q, state["k"], state["v"], visible=(place <= at) & (kept | (at < self.prompt)))
