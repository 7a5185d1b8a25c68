"""Longformer: a sliding window and global tokens."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from anyformer.caches import Cache, slots
from anyformer.contract import Inputs, Mixer, MixerInfo, SideInput
from anyformer.layers.heads import head_width, merge_heads, split_heads
from anyformer.layers.linear import Linear
from anyformer.mixers import register_mixer
from anyformer.ops.attention import attention
from anyformer.ops.masks import Causal, Global, MaskSpec, Window
from anyformer.ops.sparse_attention import sparse_attention
from anyformer.positions import create_position, require
from anyformer.state import State


@register_mixer(
    "longformer",
    examples=[
        {"window": 4},
        {"window": 4, "causal": False, "bias": True},
        {"window": 3, "num_global": 2, "max_global": 3, "positions": "alibi"},
        {"window": 3, "num_global": 0, "positions": "none"},
    ],
)
class Longformer(Mixer):
    """Window attention plus global tokens (Beltagy 2020, section 3.1), linear in the length.

    Every token sees its window and all global tokens. Global tokens see everything, with separate projections for
    queries, keys and values. Global tokens are the first ``num_global`` and those marked in
    ``call.side["global_tokens"]`` (B, T) bool.

    With ``causal=True`` no token sees a later one, and global tokens are seen by all later ones but see only their
    window and earlier global tokens, as the state holds no others.

    Args:
        num_heads: heads H.
        window: tokens of the window, the token included (bidirectional: as many to each side).
        num_global: number of first tokens that are global.
        max_global: the most global tokens of a sequence, the first ones included.
        positions: a position scheme by name, or a dict with ``name`` and its options.
        bias: biases on the projections.
    """

    class Options(Mixer.Options):
        num_heads: int = 4
        window: int = 64
        num_global: int = 1
        max_global: int = 16
        positions: str | dict[str, Any] = "rope"
        bias: bool = False

        def info(self) -> MixerInfo:
            if self.window < 1:
                raise ValueError(f"window must be at least 1, got {self.window}")
            if not 0 <= self.num_global <= self.max_global or self.max_global < 1:
                raise ValueError(
                    f"num_global must be between 0 and max_global, and that at least 1; "
                    f"got {self.num_global} and {self.max_global}"
                )
            return MixerInfo(
                reach=(None, 0 if self.causal else None),
                state="constant" if self.causal else "none",
                side={"global_tokens": SideInput()},
            )

    options: Options

    def __init__(self, dim: int, **options: Any) -> None:
        super().__init__(dim, **options)
        o = self.options
        self.num_heads, self.head_dim = o.num_heads, head_width(dim, o.num_heads, None)
        self.window, self.num_global, self.max_global, self.causal = (
            o.window,
            o.num_global,
            o.max_global,
            o.causal,
        )
        options = {"name": o.positions} if isinstance(o.positions, str) else dict(o.positions)
        require("longformer", options)
        self.positions = create_position(**options, dim=dim, num_heads=o.num_heads, head_dim=self.head_dim)
        self.qkv = Linear(dim, 3 * dim, bias=o.bias)
        if not o.causal:
            self.global_qkv = Linear(dim, 3 * dim, bias=o.bias)
        self.out = Linear(dim, dim, bias=o.bias)

    def _project(self, projection: nn.Module, x: Tensor, inputs: Inputs) -> tuple[Tensor, Tensor, Tensor]:
        q, k, v = (split_heads(t, self.num_heads) for t in projection(x).chunk(3, -1))
        return *self.positions.rotate(q, k, inputs.positions), v

    def _global_tokens(self, inputs: Inputs) -> Tensor:
        """Return the mask of global tokens, (B, T) bool."""
        marked = inputs.index < self.num_global
        side = inputs.call.side.get("global_tokens")
        if side is not None:
            if side.dtype != torch.bool:
                raise ValueError(f"global_tokens must be bool, got {side.dtype}")
            marked = marked | side
        marked = inputs.zero(marked)
        if not torch.compiler.is_compiling():
            self._check_count(marked)
        return marked

    def _check_count(self, is_global: Tensor) -> None:
        most = int(is_global.sum(1).max()) if is_global.numel() else 0
        if most > self.max_global:
            raise ValueError(
                f"global_tokens must mark at most {self.max_global} tokens of a sequence (max_global, the first "
                f"{self.num_global} included), got {most}"
            )

    def example_side(self, batch_size: int, length: int, generator: torch.Generator) -> dict[str, Tensor]:
        """Mark random tokens as global, as many as ``max_global`` allows beside the first ones."""
        marked = torch.rand(batch_size, length, generator=generator) < 3 / max(length, 1)
        return {"global_tokens": marked & (marked.cumsum(1) <= self.max_global - self.num_global)}

    def _forward(self, x: Tensor, inputs: Inputs) -> Tensor:
        is_global = self._global_tokens(inputs)
        look = Window(self.window - 1, 0 if self.causal else self.window - 1)
        seen = Global(queries=False, limit=self.max_global)
        spec: MaskSpec = (look | seen) & Causal() if self.causal else look | seen
        y = self._attend(self.qkv, spec, x, is_global, inputs)
        if not self.causal:
            whole = Global(keys=False, limit=self.max_global)
            y = torch.where(
                is_global[..., None], self._attend(self.global_qkv, whole, x, is_global, inputs), y
            )
        return self.out(y)

    def _attend(
        self, projection: nn.Module, spec: MaskSpec, x: Tensor, is_global: Tensor, inputs: Inputs
    ) -> Tensor:
        q, k, v = self._project(projection, x, inputs)
        index = inputs.zero(inputs.index + 1) - 1
        place = self.positions.places(inputs.positions)
        y = sparse_attention(
            q,
            k,
            v,
            spec,
            q_index=index,
            k_index=index,
            global_mask=is_global,
            q_pos=inputs.positions,
            k_pos=inputs.positions,
            score=self._score() if place is None else None,
            places=None if place is None else (place, place),
        )
        return merge_heads(y)

    def _score(self) -> Callable[[Tensor, Tensor, Tensor, Tensor, Tensor], Tensor] | None:
        if not self.positions.scores:
            return None

        def score(scores: Tensor, q: Tensor, k: Tensor, q_pos: Tensor, k_pos: Tensor) -> Tensor:
            term = self.positions.score(q, k, q_pos, k_pos)
            return scores if term is None else scores + term

        return score

    def _init_state(self, batch_size: int, device: torch.device, dtype: torch.dtype) -> State:
        empty = torch.zeros(batch_size, self.num_heads, 0, self.head_dim, device=device, dtype=dtype)
        number = torch.zeros(batch_size, 1, 0, 1, device=device, dtype=torch.int64)
        position = number.to(torch.float64 if dtype == torch.float64 else torch.float32)
        return {"k": empty, "v": empty, "slot": number, "position": position, "global": number.bool()}

    def _stream(self, x: Tensor, state: State, inputs: Inputs) -> tuple[Tensor, State]:
        q, k, v = self._project(self.qkv, x, inputs)
        slot, is_global = slots(inputs), self._global_tokens(inputs)[:, None, :, None]
        new = {
            "k": k,
            "v": v,
            "slot": slot,
            "position": inputs.positions[:, None, :, None],
            "global": is_global,
        }
        both = {name: torch.cat([state[name], new[name]], 2) for name in new}
        age = slot - both["slot"].transpose(2, 3)
        seen = (age >= 0) & (both["slot"] > 0).transpose(2, 3)
        seen = seen & ((age < self.window) | both["global"].transpose(2, 3))
        bias = None
        if self.positions.scores:
            bias = self.positions.score(q, both["k"], inputs.positions, both["position"][:, 0, :, 0])
        y = attention(q, both["k"], both["v"], visible=seen, bias=bias)
        return self.out(merge_heads(y)), self._keep(both)

    def _keep(self, both: Cache) -> Cache:
        """Return the cache with the latest window - 1 tokens and the global ones, in order, at the end."""
        slot, is_global = both["slot"][:, 0, :, 0], both["global"][:, 0, :, 0]
        self._check_count(is_global)
        size = min(slot.shape[1], self.window - 1 + self.max_global)
        recent = slot > slot.amax(1, keepdim=True) - (self.window - 1) if slot.numel() else slot > 0
        wanted = (slot > 0) & (recent | is_global)
        order = wanted.to(torch.uint8).argsort(dim=1, stable=True)[:, slot.shape[1] - size :]
        return {
            name: t.gather(2, order[:, None, :, None].expand(-1, t.shape[1], -1, t.shape[3]))
            for name, t in both.items()
        }
