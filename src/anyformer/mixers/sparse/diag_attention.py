"""Attention within blocks that do not see each other."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from anyformer.contract import Inputs, Mixer, MixerInfo, Mixing
from anyformer.layers.heads import head_width, merge_heads, split_heads
from anyformer.layers.linear import Linear, call_roomy
from anyformer.layers.norms.rms_norm import RMSNorm
from anyformer.mixers import register_mixer
from anyformer.ops.attention import attention
from anyformer.positions import Scheme, create_position, require
from anyformer.precision import no_autocast, widen
from anyformer.registry import nearest
from anyformer.state import State

WEIGHTS = ("softmax", "relu")


@register_mixer(
    "diag_attention",
    examples=[
        {"block_len": 5},
        {"block_len": 5, "weights": "relu"},
        {"block_len": 5, "causal": False},
        {"block_len": 4, "weights": "relu", "causal": False, "positions": "none"},
    ],
)
class DiagAttention(Mixer):
    """Attention whose matrix is block-diagonal: a token sees its own block (Qin 2022, section 4.2).

    Blocks are counted from the first token. A causal token sees its block up to itself.

    Args:
        num_heads: heads H.
        block_len: tokens of a block.
        weights: ``softmax``; or ``relu`` of the scores, with a norm over all heads of the average (ReLA, Zhang 2021).
        positions: a position scheme by name that rotates queries and keys, or ``none``.
    """

    class Options(Mixer.Options):
        num_heads: int = 4
        block_len: int = 64
        weights: str = "softmax"
        positions: Scheme = "rope"

        def info(self) -> MixerInfo:
            if self.block_len < 1:
                raise ValueError(f"block_len must be at least 1, got {self.block_len}")
            far = self.block_len - 1
            return MixerInfo(
                reach=(far, 0 if self.causal else far), state="constant" if self.causal else "none"
            )

    options: Options

    def __init__(self, dim: int, **options: Any) -> None:
        super().__init__(dim, **options)
        o = self.options
        if o.weights not in WEIGHTS:
            raise ValueError(f"unknown weights {o.weights!r}{nearest(o.weights, list(WEIGHTS))}")
        if require("diag_attention", o.positions).scores:
            raise ValueError(f"positions must rotate queries and keys, or be 'none', got {o.positions!r}")
        K = head_width(dim, o.num_heads, None)
        self.num_heads, self.head_dim, self.block_len = o.num_heads, K, o.block_len
        self.weights, self.causal = o.weights, o.causal
        self.positions = create_position(o.positions, dim=dim, num_heads=o.num_heads, head_dim=K)
        self.qkv = Linear(dim, 3 * dim, bias=False)
        self.norm = RMSNorm(dim) if o.weights == "relu" else None
        self.out = Linear(dim, dim, bias=False)

    def _project(self, x: Tensor, inputs: Inputs) -> tuple[Tensor, Tensor, Tensor]:
        q, k, v = (split_heads(t, self.num_heads) for t in self.qkv(x).chunk(3, -1))
        q, k = self.positions.rotate(q, k, inputs.positions)
        return q, k, v

    def _finish(self, y: Tensor) -> Tensor:
        y = merge_heads(y)
        dtype = self.out.weight.dtype
        y = y if self.norm is None else call_roomy(self.norm, y, dtype)
        return self.out(y.to(dtype))

    def _matrix(self, q: Tensor, k: Tensor, visible: Tensor) -> Tensor:
        """Return relu of the visible scores, in float32 at least: they could overflow before the norm."""
        with no_autocast(q):
            scores = widen(q) @ widen(k).mT * self.head_dim**-0.5
        return torch.where(visible, scores.relu(), 0.0)

    def _attend(self, q: Tensor, k: Tensor, v: Tensor, visible: Tensor) -> Tensor:
        if self.weights == "relu":
            matrix = self._matrix(q, k, visible)
            with no_autocast(q):
                return matrix @ v.to(matrix.dtype)
        return attention(q, k, v, visible=visible)

    def _in_blocks(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
        """Attend within the blocks of whole sequences, as a batch; ``mask`` (B, T): the real keys."""
        B, _, T, _ = q.shape
        C = min(self.block_len, T)
        if T == 0:
            return v
        n, missing = -(-T // C), -T % C
        q, k, v = (
            pad(t, (0, 0, 0, missing)).unflatten(2, (n, C)).transpose(1, 2).flatten(0, 1) for t in (q, k, v)
        )
        place = torch.arange(C, device=q.device)
        if self.causal:  # masked tokens come last
            visible = (place[:, None] >= place).expand(1, 1, C, C)
        else:
            here = torch.ones(B, T, dtype=torch.bool, device=q.device) if mask is None else mask
            visible = pad(here, (0, missing)).reshape(B * n, 1, 1, C)
        y = self._attend(q, k, v, visible)
        return y.unflatten(0, (B, n)).transpose(1, 2).flatten(2, 3)[:, :, :T]

    def _forward(self, x: Tensor, inputs: Inputs) -> Tensor:
        return self._finish(self._in_blocks(*self._project(x, inputs), inputs.mask))

    def _init_state(self, batch_size: int, device: torch.device, dtype: torch.dtype) -> State:
        shape = (batch_size, self.num_heads, self.block_len - 1, self.head_dim)
        return {name: torch.zeros(shape, device=device, dtype=dtype) for name in "kv"}

    def _stream(self, x: Tensor, state: State, inputs: Inputs) -> tuple[Tensor, State]:
        """Stream new tokens after those of each sample's incomplete block."""
        T, C = x.shape[1], self.block_len
        q, k, v = self._project(x, inputs)
        if T == 0:
            return self._finish(v), state
        held = inputs.index[:, :1] % C  # (B, 1): tokens of the block before this call
        place = torch.arange(C - 1 + T, device=x.device)
        source = torch.where(place < held, place, (place - held + C - 1).clamp_max(C + T - 2))
        both = {
            name: torch.cat((state[name], new), 2).gather(2, _wide(source, new))
            for name, new in (("k", k), ("v", v))
        }
        if T == 1:
            y = self._attend(q, both["k"], both["v"], (place <= held)[:, None, None])
        else:
            target = held + torch.arange(T, device=x.device)
            place_of_query = (place - held).clamp(0, T - 1)
            y = self._in_blocks(q.gather(2, _wide(place_of_query, q)), both["k"], both["v"], None)
            y = y.gather(2, _wide(target, y))
        total = held + inputs.lengths[:, None]
        left, kept = total % C, torch.arange(C - 1, device=x.device)
        take = (total - left + kept).clamp_max(C + T - 2)
        there = (kept < left)[:, None, :, None]
        return self._finish(y), {
            name: torch.where(there, t.gather(2, _wide(take, t)), 0.0) for name, t in both.items()
        }

    def _mixing(self, x: Tensor, inputs: Inputs) -> Mixing:
        q, k, v = self._project(x, inputs)
        i, j = inputs.index[:, None, :, None], inputs.index[:, None, None, :]
        visible = i // self.block_len == j // self.block_len
        if self.causal:
            visible = visible & (j <= i)
        if inputs.mask is not None:
            visible = visible & inputs.mask[:, None, None, :]
        if self.weights == "relu":
            matrix = self._matrix(q, k, visible)
        else:
            scores = (q @ k.mT * self.head_dim**-0.5).masked_fill(~visible, -torch.inf)
            matrix = scores.softmax(-1).nan_to_num(0.0)
        return Mixing(matrix, v, lambda y: inputs.zero(self._finish(y)))


def _wide(index: Tensor, like: Tensor) -> Tensor:
    """Expand (B, S) to (B, H, S, K), as an index to gather by."""
    return index[:, None, :, None].expand(-1, like.shape[1], -1, like.shape[3])
