"""Vectors of the n-grams that end at each token, looked up in hashed tables."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding

from anyformer.contract import Inputs, Mixer, MixerInfo, SideInput
from anyformer.layers.conv import join, recent
from anyformer.layers.linear import Linear
from anyformer.mixers import register_mixer
from anyformer.state import State

PRIME, FACTOR, SPREAD = 2**31 - 1, 259_313, 48_271
"""Modulus and factors of the hash; products stay within 64 bits for ids below 2^31."""

DECAY = 10
"""Factor of the tables' weight decay."""


@register_mixer(
    "ngram_memory",
    examples=[{"rows": 64}, {"shortest": 1, "longest": 2, "rows": 8}, {"rows": 64, "dropout": 0.5}],
)
class NGramMemory(Mixer):
    """y_t = 2 sigmoid(W x_t) * sum_n E_n[h(s_{t-n+1}, ..., s_t)]: a learned vector of each n-gram that ends at token t.

    The n-grams of the tokens s, from the shortest to the longest, are hashed into ``rows`` rows of a table for each
    length n (hash embeddings: Svenstrup et al. 2017; in front of a byte model: Pagnoni et al. 2024, "Byte Latent
    Transformer", section 3.2.1), and gated by what the layer reads (Cheng et al. 2026, "Engram", section 2.3, where the
    gate is a scalar). A token reads one row of each table, whatever their size. Fresh tables are zero, so that an
    n-gram that was never trained adds nothing. Before the start of a sequence there is a token of its own.

    The side input ``tokens`` (B, T) int64 is s, which a model of tokens gives by itself.

    Args:
        shortest, longest: lengths of the n-grams, in tokens.
        rows: rows of each table.
        dropout: share of the vectors of n-grams that are left out in training, each by itself, since long ones
            that occurred once would be trusted too much.
    """

    class Options(Mixer.Options):
        shortest: int = 2
        longest: int = 6
        rows: int = 8192
        dropout: float = 0.0

        def info(self) -> MixerInfo:
            self.needs_causal(True, "it reads the n-grams that end at a token")
            if not 1 <= self.shortest <= self.longest:
                raise ValueError(
                    f"shortest must be from 1 to longest={self.longest}, the lengths of n-grams, got {self.shortest}"
                )
            if self.rows < 1:
                raise ValueError(f"rows must be at least 1, got {self.rows}")
            if not 0 <= self.dropout < 1:
                raise ValueError(f"dropout must be at least 0 and below 1, got {self.dropout}")
            return MixerInfo(
                reach=(self.longest - 1, 0),
                state="constant",
                side={"tokens": SideInput(absent=-1, required=True)},
                exceptions={"modes": "vectors of n-grams are dropped in training"} if self.dropout else {},
            )

    options: Options

    def __init__(self, dim: int, **options: Any) -> None:
        super().__init__(dim, **options)
        o = self.options
        self.orders, self.past = range(o.shortest, o.longest + 1), o.longest - 1
        self.table = nn.Parameter(torch.zeros(len(self.orders) * o.rows, dim))
        self.gate = Linear(dim, dim, bias=False)

    def hints(self) -> dict[str, dict[str, Any]]:
        """Return that tables are looked up, and decay faster: what is seen once should count for little."""
        return {"table": {"looked_up": True, "decay": DECAY}}

    def example_side(self, batch_size: int, length: int, generator: torch.Generator) -> dict[str, Tensor]:
        return {"tokens": torch.randint(7, (batch_size, length), generator=generator)}

    def _forward(self, x: Tensor, inputs: Inputs) -> Tensor:
        return self._read(x, join(_numbers(inputs), None, self.past))

    def _init_state(self, batch_size: int, device: torch.device, dtype: torch.dtype) -> State:
        return {"recent": torch.zeros(batch_size, self.past, 1, device=device, dtype=torch.int64)}

    def _stream(self, x: Tensor, state: State, inputs: Inputs) -> tuple[Tensor, State]:
        new, past = _numbers(inputs), state["recent"]
        kept = {"recent": recent(new, past, self.past, inputs.mask)}
        return self._read(x, join(new, past, self.past)), kept

    def _read(self, x: Tensor, numbers: Tensor) -> Tensor:
        """y (B, T, D) of x (B, T, D) and the numbers (B, past + T, 1) of its tokens and those before."""
        found = embedding(self.places(numbers[..., 0], x.shape[1]), self.table.to(x.dtype))  # (B, T, n, D)
        if self.training and self.options.dropout:
            kept = torch.rand(found.shape[:3], device=x.device) >= self.options.dropout
            found = found * (kept / (1 - self.options.dropout)).to(x.dtype)[..., None]
        return 2 * torch.sigmoid(self.gate(x)) * found.sum(2)

    def places(self, numbers: Tensor, length: int) -> Tensor:
        """Return the rows (B, T, n) of the n-grams that end at the last ``length`` of numbers (B, past + T)."""
        code = torch.zeros_like(numbers[:, self.past :])
        found: list[Tensor] = []
        for back in range(self.options.longest):
            start = self.past - back
            code = (code * FACTOR + numbers[:, start : start + length]) % PRIME
            if back + 1 in self.orders:
                found.append(code * SPREAD % PRIME % self.options.rows + len(found) * self.options.rows)
        return torch.stack(found, -1)


def _numbers(inputs: Inputs) -> Tensor:
    """The tokens' numbers (B, T, 1) from 1 on."""
    return inputs.call.side["tokens"].long()[..., None] + 1
