"""Copying a few symbols from among noise."""

from __future__ import annotations

from typing import Any

import numpy as np

from anyformer.metrics import create_metric
from anyformer.objectives import IGNORED, NextToken
from anyformer.tasks import register_task
from anyformer.tasks.base import Reference, check_integer
from anyformer.tasks.generated._base import GeneratedTask
from anyformer.tasks.references import Token


@register_task("selective_copy")
class SelectiveCopy(GeneratedTask):
    """Symbols stand at random places among noise; at the end they are written in order, without the noise.

    With an alphabet of 5 (tokens 0 to 4; 5 is noise, 6 asks for the next symbol) and 3 symbols at length 10::

        place    0  1  2  3  4  5  6  7  8  9
        x        5  3  5  5  0  5  2  6  6  6
        target   .  .  .  .  .  .  .  3  0  2

    As the gaps vary, no fixed set of lags leads from an answer to its symbol: noise must be recognised by the
    token (arXiv 2312.00752, section 4.1.1 and figure 2). At a test length there is more noise.

    Args:
        alphabet: number of symbols to choose from.
        num_symbols: symbols in a sample.
        length: tokens in a sample, answers included.
        seed: fixes every sample.
    """

    name = "selective_copy"

    def __init__(self, *, alphabet: int = 8, num_symbols: int = 6, length: int = 36, seed: int = 0) -> None:
        check_integer("alphabet", alphabet, low=2)
        check_integer("num_symbols", num_symbols, low=1)
        check_integer("length", length, low=2 * num_symbols)
        self.vocab_size = alphabet + 2
        self.num_symbols = num_symbols
        self.train_length = length
        self.lengths = (2 * length, 4 * length)
        self.seed = seed
        self.objective = NextToken(self.vocab_size)
        self.metric = create_metric("accuracy", self.question)
        self.title = f"Write down {num_symbols} symbols that stand among noise."

    def _generate(self, rng: np.random.Generator, count: int, length: int) -> dict[str, np.ndarray]:
        assert self.vocab_size is not None
        noise, ask, n = self.vocab_size - 2, self.vocab_size - 1, self.num_symbols
        symbols = rng.integers(0, noise, (count, n))
        rank = rng.random((count, length - n), dtype=np.float32)
        places = np.sort(np.argpartition(rank, n - 1, axis=1)[:, :n], axis=1)
        x = np.full((count, length), noise, np.int64)
        np.put_along_axis(x, places, symbols, axis=1)
        x[:, length - n :] = ask
        targets = np.full_like(x, IGNORED)
        targets[:, length - n :] = symbols
        return {"x": x, "targets": targets}

    def references(self) -> list[Reference]:
        """Chance."""
        return [Token(0, "chance", "always the same symbol: right once in as many as there are")]

    def describe(self) -> dict[str, Any]:
        """Return facts for the report."""
        return {**super().describe(), "vocab_size": self.vocab_size, "num_symbols": self.num_symbols}
