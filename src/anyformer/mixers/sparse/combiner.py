"""Combiner: attention to near tokens directly and to far ones through summaries of regions."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from anyformer.caches.numbered import put
from anyformer.contract import Inputs, Mixer, MixerInfo, Mixing
from anyformer.layers.heads import head_width, merge_heads, split_heads
from anyformer.layers.linear import Linear
from anyformer.mixers import register_mixer
from anyformer.ops.attention import attention, merge
from anyformer.ops.gathered_attention import gathered_attention
from anyformer.ops.masks import Causal, Dilated, Segments
from anyformer.ops.sparse_attention import sparse_attention
from anyformer.state import State

PARTITIONS = ("fixed", "logsparse", "axial")
Part = tuple[Tensor, Tensor]
"""(y, log-sum-exp) of some keys."""


class Tokens(NamedTuple):
    """Queries, keys and values (B, H, S, K), token n of each sample at index n, zero past its length."""

    q: Tensor
    k: Tensor
    v: Tensor
    lengths: Tensor  # (B,)

    @property
    def real(self) -> Tensor:
        """The real tokens, (B, S) bool."""
        return torch.arange(self.k.shape[2], device=self.k.device) < self.lengths[:, None]

    @property
    def number(self) -> Tensor:
        """The number of each token, (B, S) int64, -1 = none."""
        return torch.where(self.real, torch.arange(self.k.shape[2], device=self.k.device), -1)


class TokenBlocks(NamedTuple):
    """Tokens in blocks of C: q, k, v (B, H, n, C, K), real (B, n, C)."""

    q: Tensor
    k: Tensor
    v: Tensor
    real: Tensor

    @classmethod
    def of(cls, tokens: Tokens, size: int) -> TokenBlocks:
        """Cut tokens into blocks of ``size``, counted from the first."""
        missing = -tokens.k.shape[2] % size
        q, k, v = (
            pad(t, (0, 0, 0, missing)).unflatten(2, (-1, size)) for t in (tokens.q, tokens.k, tokens.v)
        )
        return cls(q, k, v, pad(tokens.real, (0, missing)).unflatten(1, (-1, size)))

    def attend(self, q: Tensor, causal: bool = False) -> Part:
        """Attend from queries (B, H, n, C', K) to the tokens of their block."""
        n = q.shape[2]
        q, k, v = (t.transpose(1, 2).flatten(0, 1) for t in (q, self.k, self.v))
        y, lse = attention(
            q, k, v, visible=self.real.flatten(0, 1)[:, None, None, :], causal=causal, return_lse=True
        )
        return y.unflatten(0, (-1, n)).transpose(1, 2), lse.unflatten(0, (-1, n)).transpose(1, 2)

    def pool(self, x: Tensor) -> Tensor:
        """Return the maximum of each channel over a block, 0 where it has no token: (B, H, n, 1, K)."""
        x = x.masked_fill(~self.real[:, None, ..., None], -torch.inf).amax(3, keepdim=True)
        return x.masked_fill(x == -torch.inf, 0.0)

    def summaries(self) -> tuple[Tensor, Tensor]:
        """Return the summaries of blocks (eq. 5), (B, H, n, K): k = max k_j, v = sum_j softmax_j(max q . k_j) v_j."""
        y, _ = self.attend(self.pool(self.q))
        return self.pool(self.k)[:, :, :, 0], y[:, :, :, 0]


@register_mixer(
    "combiner",
    examples=[
        {"span": 4},
        {"span": 5, "causal": False},
        {"partition": "logsparse"},
        {"partition": "logsparse", "causal": False},
        {"partition": "axial", "span": 4},
        {"partition": "axial", "span": 4, "causal": False},
    ],
)
class Combiner(Mixer):
    """Full attention whose far probabilities factorise, at sub-quadratic cost (Ren 2021, eq. 4-6).

    p(j|i) = exp(q_i . k_j) / Z for j in the direct set of i, p(r|i) p(j|r) for j in region r, where
    p(r|i) = exp(q_i . k_r) / Z, Z over both, and p(j|r) = softmax_j(q_r . k_j) does not depend on i. Scores are over
    sqrt(K). With ``causal=True`` only complete earlier regions count.

    ========== ===================== ================================= ============================================
    partition  direct                regions                           k_r, q_r
    ========== ===================== ================================= ============================================
    fixed      own block of span     the other blocks                  largest value of each channel in the region
    logsparse  the token itself      2^l tokens each, as in a Fenwick  largest value of each channel in the region
                                     tree
    axial      own row of span       the other rows                    those of the token in the query's column
    ========== ===================== ================================= ============================================

    Streaming keeps all tokens and recomputes the summaries at each call.

    Args:
        num_heads: heads H.
        partition: a row of the table above.
        span: tokens of a block or row; best near the square root of the length.
    """

    class Options(Mixer.Options):
        num_heads: int = 4
        partition: str = "fixed"
        span: int = 32

        def info(self) -> MixerInfo:
            if self.partition not in PARTITIONS:
                raise ValueError(f"partition must be one of {', '.join(PARTITIONS)}; got {self.partition!r}")
            if self.span < 1:
                raise ValueError(f"span must be at least 1, got {self.span}")
            cost = "n log n" if self.partition == "logsparse" else "n^2"
            return MixerInfo(
                reach=(None, 0 if self.causal else None),
                cost=cost,
                memory=cost,
                state="n" if self.causal else "none",
            )

    options: Options

    def __init__(self, dim: int, **options: Any) -> None:
        super().__init__(dim, **options)
        o = self.options
        self.num_heads, self.head_dim = o.num_heads, head_width(dim, o.num_heads, None)
        self.partition, self.span, self.causal = o.partition, o.span, o.causal
        self.qkv = Linear(dim, 3 * dim, bias=False)
        self.out = Linear(dim, dim, bias=False)

    def _project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        q, k, v = (split_heads(t, self.num_heads) for t in self.qkv(x).chunk(3, -1))
        return q, k, v

    def _forward(self, x: Tensor, inputs: Inputs) -> Tensor:
        tokens = Tokens(*self._project(x), inputs.lengths)
        return self.out(merge_heads(self._attend(tokens.q, tokens.number, tokens)))

    def _attend(self, q: Tensor, index: Tensor, tokens: Tokens) -> Tensor:
        """Attend from queries (B, H, T, K) of numbers (B, T), -1 = none, to all tokens."""
        if q.shape[2] * tokens.k.shape[2] == 0:
            return torch.zeros_like(q)
        if self.partition == "logsparse":
            return self._logsparse(q, index, tokens)
        blocks = TokenBlocks.of(tokens, self.span)
        local = self._local(q, index, tokens, blocks)
        regions = self._fixed if self.partition == "fixed" else self._axial
        return merge([local, *regions(q, index, tokens, blocks)])[0]

    def _local(self, q: Tensor, index: Tensor, tokens: Tokens, blocks: TokenBlocks) -> Part:
        if self.causal:
            own = Segments(self.span, 0) & Causal()
            y, lse = sparse_attention(
                q, tokens.k, tokens.v, own, q_index=index, k_index=tokens.number, return_lse=True
            )
            return y, lse
        y, lse = blocks.attend(blocks.q)
        return y.flatten(2, 3)[:, :, : q.shape[2]], lse.flatten(2, 3)[:, :, : q.shape[2]]

    def _fixed(self, q: Tensor, index: Tensor, tokens: Tokens, blocks: TokenBlocks) -> list[Part]:
        k, v = blocks.summaries()
        own = index.div(self.span, rounding_mode="floor")[:, :, None]
        number = torch.arange(k.shape[2], device=k.device)
        seen = number < own if self.causal else (number != own) & blocks.real.any(-1)[:, None]
        return [attention(q, k, v, visible=seen[:, None], return_lse=True)]

    def _axial(self, q: Tensor, index: Tensor, tokens: Tokens, blocks: TokenBlocks) -> list[Part]:
        """Attend to each row as its token in the query's column (or, in a shorter last row, its last token) sees it."""
        C = self.span
        seen, _ = blocks.attend(blocks.q)
        last = (blocks.real.sum(-1, keepdim=True) - 1).clamp_min(0)
        column = torch.minimum(torch.arange(C, device=q.device), last)[:, None, ..., None]
        k, v = (t.gather(3, column.expand_as(t)).flatten(2, 3) for t in (blocks.k, seen))
        # every cell of a row that has a token is real
        there = blocks.real.any(-1, keepdim=True).expand_as(blocks.real).flatten(1)
        k_index = torch.where(there, torch.arange(k.shape[2], device=q.device), -1)
        far = k.shape[2]
        parts = []
        for spec, shift in ((Dilated(far, 0, C), -C), (Dilated(0, far, C), C))[: 1 if self.causal else 2]:
            at = (index + shift).masked_fill(index < 0, -1).clamp_min(-1)
            parts.append(sparse_attention(q, k, v, spec, q_index=at, k_index=k_index, return_lse=True))
        return parts

    def _logsparse(self, q: Tensor, index: Tensor, tokens: Tokens) -> Tensor:
        """Attend to the token itself, and at each level l to the sibling of its region of 2^l tokens."""
        S = tokens.k.shape[2]
        keys, values, slots, first = [tokens.k], [tokens.v], [index], 0
        for level in range((S - 1).bit_length()):
            blocks = TokenBlocks.of(tokens, 2**level)
            own = index >> level
            beside = own ^ 1
            number = blocks.real.shape[1]
            there = (
                (own & 1 == 1) if self.causal else blocks.real.any(-1).gather(1, beside.clamp(0, number - 1))
            )
            slots.append(torch.where(there & (index >= 0) & (beside < number), first + beside, -1))
            if level:
                k, v = blocks.summaries()
                keys.append(k)
                values.append(v)
            first += number
        return gathered_attention(
            q, torch.cat(keys, 2), torch.cat(values, 2), torch.stack(slots, -1)[:, None]
        )

    def _init_state(self, batch_size: int, device: torch.device, dtype: torch.dtype) -> State:
        empty = torch.zeros(batch_size, self.num_heads, 0, self.head_dim, device=device, dtype=dtype)
        lengths = torch.zeros(batch_size, dtype=torch.int64, device=device)
        return {"q": empty, "k": empty, "v": empty, "lengths": lengths}

    def _stream(self, x: Tensor, state: State, inputs: Inputs) -> tuple[Tensor, State]:
        new = self._project(x)
        lengths = state["lengths"] + inputs.lengths
        size = int(lengths.max()) if lengths.numel() else 0
        index = inputs.zero(inputs.index + 1) - 1
        q, k, v = (put(state[name], t, index, size) for name, t in zip("qkv", new, strict=True))
        tokens = Tokens(q, k, v, lengths)
        y = self._attend(new[0], index, tokens)
        return self.out(merge_heads(y)), {"q": tokens.q, "k": tokens.k, "v": tokens.v, "lengths": lengths}

    def _mixing(self, x: Tensor, inputs: Inputs) -> Mixing:
        tokens = Tokens(*self._project(x), inputs.lengths)
        v, T = tokens.v, x.shape[1]
        each = torch.eye(T, device=x.device, dtype=x.dtype).expand(*v.shape[:2], T, T)
        each = each * tokens.real[:, None, :, None]
        matrix = self._attend(tokens.q, tokens.number, tokens._replace(v=each))
        return Mixing(matrix, v, lambda y: inputs.zero(self.out(merge_heads(y))))
