"""Multi-query associative recall."""

from __future__ import annotations

from typing import Any

import numpy as np

from anyformer.metrics import create_metric
from anyformer.objectives import IGNORED, NextToken
from anyformer.tasks import register_task
from anyformer.tasks.base import Reference, check_integer
from anyformer.tasks.generated._base import GeneratedTask
from anyformer.tasks.references import FirstValue, Token


@register_task("recall")
class Recall(GeneratedTask):
    """Key-value pairs are read, then keys are queried: which value came with each?

    With 4 keys (tokens 0 to 3), 4 values (4 to 7) and 3 pairs at length 12::

        place    0  1   2  3   4  5  |  6  7  8  9 10 11
        x        2  5   0  7   3  4  |  0  3  2  3  2  0
        target   .  .   .  .   .  .  |  7  4  5  4  5  7

    Pairs come first, each key once; every position after them queries one of those keys, and the answers are never
    part of the input. A model must keep ``num_pairs`` bindings until the end, which separates attention from a
    state of fixed size (arXiv 2312.04927, section 4; there each key is queried once, with filler between; here
    every position is a query, so that a sample teaches more).

    Args:
        vocab_size: even; the lower half are keys, the upper half values.
        num_pairs: pairs in a sample, at most ``vocab_size // 2`` and at most ``length // 3``.
        length: tokens in a sample. At a test length the number of pairs grows in proportion, as far as there
            are keys.
        seed: fixes every sample.
    """

    name = "recall"

    def __init__(self, *, vocab_size: int = 32, num_pairs: int = 6, length: int = 36, seed: int = 0) -> None:
        check_integer("vocab_size", vocab_size, low=4)
        if vocab_size % 2:
            raise ValueError(f"vocab_size must be even (half keys, half values), got {vocab_size}")
        check_integer("num_pairs", num_pairs, low=1, high=vocab_size // 2)
        check_integer("length", length, low=3 * num_pairs)
        self.vocab_size = vocab_size
        self.num_pairs = num_pairs
        self.train_length = length
        self.lengths = (2 * length, 4 * length)
        self.seed = seed
        self.objective = NextToken(vocab_size)
        self.metric = create_metric("accuracy", self.question)
        self.title = f"Recall which of {vocab_size // 2} values came with each of {num_pairs} keys."

    def pairs_at(self, length: int) -> int:
        """Return the number of pairs in a sample of ``length`` tokens."""
        assert self.vocab_size is not None
        return min(self.vocab_size // 2, max(1, self.num_pairs * length // self.train_length))

    def _generate(self, rng: np.random.Generator, count: int, length: int) -> dict[str, np.ndarray]:
        assert self.vocab_size is not None
        half, pairs = self.vocab_size // 2, self.pairs_at(length)
        rank = rng.random((count, half), dtype=np.float32)
        keys = np.argpartition(rank, pairs - 1, axis=1)[:, :pairs]
        keys = rng.permuted(keys, axis=1)  # argpartition leaves an order of its own
        values = rng.integers(half, 2 * half, (count, pairs))
        x = np.empty((count, length), np.int64)
        x[:, 0 : 2 * pairs : 2], x[:, 1 : 2 * pairs : 2] = keys, values
        asked = rng.integers(0, pairs, (count, length - 2 * pairs))
        x[:, 2 * pairs :] = np.take_along_axis(keys, asked, axis=1)
        targets = np.full_like(x, IGNORED)
        targets[:, 2 * pairs :] = np.take_along_axis(values, asked, axis=1)
        return {"x": x, "targets": targets}

    def references(self) -> list[Reference]:
        """Chance among all values, and chance among the values of the sample."""
        assert self.vocab_size is not None
        return [
            Token(self.vocab_size - 1, "chance", "always the same value: right once in as many as there are"),
            FirstValue("any value seen", "the value of the first pair, whatever is asked: no binding at all"),
        ]

    def describe(self) -> dict[str, Any]:
        """Return facts for the report."""
        pairs = {length: self.pairs_at(length) for length in (self.train_length, *self.lengths)}
        return {**super().describe(), "vocab_size": self.vocab_size, "pairs_at_length": pairs}
