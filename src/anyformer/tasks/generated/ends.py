"""Labelling tokens by both ends of a sentence."""

from __future__ import annotations

import numpy as np

from anyformer.metrics import create_metric
from anyformer.objectives import IGNORED, NextToken
from anyformer.tasks import register_task
from anyformer.tasks.base import Reference, check_integer
from anyformer.tasks.generated._base import GeneratedTask
from anyformer.tasks.references import Token


@register_task("ends")
class Ends(GeneratedTask):
    """Which tokens are as the first of the sentence, and which as the last?

    The label says 0 for neither, 1 for the first, 2 for the last, 3 for both. With 4 symbols, at length 8, a sentence
    of 6 (the rest is masked out)::

        x        2  0  1  2  1  1  -  -
        target   1  0  2  1  2  2  -  -

    A label depends on both ends of the sentence, however far away, so that models are bidirectional. Sentences have
    ``length // 2`` to ``length`` tokens.

    Args:
        num_symbols: symbols, at least 4, as there are labels.
        length: tokens of the longest sentence.
        seed: fixes every sample.
    """

    name = "ends"
    sees_whole = True

    def __init__(self, *, num_symbols: int = 4, length: int = 32, seed: int = 0) -> None:
        check_integer("num_symbols", num_symbols, low=4)
        check_integer("length", length, low=4)
        self.vocab_size = num_symbols
        self.train_length = length
        self.lengths = (2 * length, 4 * length)
        self.seed = seed
        self.objective = NextToken(num_symbols)
        self.metric = create_metric("accuracy", self.question)
        self.title = f"Say which of up to {length} tokens are as the first and as the last one."

    def _generate(self, rng: np.random.Generator, count: int, length: int) -> dict[str, np.ndarray]:
        x = rng.integers(0, self.vocab_size, (count, length))
        sizes = rng.integers(length // 2, length + 1, (count, 1))
        mask = np.arange(length)[None] < sizes
        last = np.take_along_axis(x, sizes - 1, 1)
        targets = (x == x[:, :1]) + 2 * (x == last)
        return {"x": np.where(mask, x, 0), "targets": np.where(mask, targets, IGNORED), "mask": mask}

    def references(self) -> list[Reference]:
        """Always neither."""
        return [Token(0, "neither", "no token is as the first or the last: the commonest label")]
