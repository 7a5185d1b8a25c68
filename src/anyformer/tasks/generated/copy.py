"""Copying a string."""

from __future__ import annotations

from typing import Any

import numpy as np

from anyformer.metrics import create_metric
from anyformer.objectives import IGNORED, NextToken
from anyformer.tasks import register_task
from anyformer.tasks.base import Reference, check_integer
from anyformer.tasks.generated._base import GeneratedTask
from anyformer.tasks.references import Token


@register_task("copy")
class Copy(GeneratedTask):
    """A string is read, then written again after a separator.

    With an alphabet of 5 (tokens 0 to 4; 5 is the separator) at length 8, a string of 3::

        place    0  1  2  3  4  5  6  7
        x        4  0  2  5  4  0  -  -
        target   .  .  .  4  0  2  .  .

    Strings are of ``length // 4`` to ``length // 2`` symbols, so that the symbol to attend to is at no fixed
    distance; tokens after the last symbol to be written are masked (``-``). At a test length all strings
    have ``length // 2`` symbols: longer than any in training.

    Args:
        alphabet: number of symbols.
        length: tokens in the longest sample: twice the longest string.
        seed: fixes every sample.
    """

    name = "copy"

    def __init__(self, *, alphabet: int = 16, length: int = 48, seed: int = 0) -> None:
        check_integer("alphabet", alphabet, low=2)
        check_integer("length", length, low=4)
        self.vocab_size = alphabet + 1
        self.train_length = length - length % 2
        self.lengths = (2 * self.train_length, 4 * self.train_length)
        self.seed = seed
        self.objective = NextToken(self.vocab_size)
        self.metric = create_metric("accuracy", self.question)
        self.title = f"Copy a string of up to {length // 2} symbols."

    def _generate(self, rng: np.random.Generator, count: int, length: int) -> dict[str, np.ndarray]:
        assert self.vocab_size is not None
        longest, separator = length // 2, self.vocab_size - 1
        shortest = longest // 2 if length == self.train_length else longest
        sizes = rng.integers(shortest, longest + 1, (count, 1))
        text = rng.integers(0, separator, (count, longest))
        place = np.arange(length)[None]
        source = np.where(place < sizes, place, place - sizes - 1)  # which symbol stands at a place
        x = np.take_along_axis(text, source.clip(0, longest - 1), axis=1)
        x = np.where(place == sizes, separator, x)
        written = (place >= sizes) & (place < 2 * sizes)
        answer = np.take_along_axis(text, (place - sizes).clip(0, longest - 1), axis=1)
        mask = place < 2 * sizes
        samples = {"x": np.where(mask, x, 0), "targets": np.where(written, answer, IGNORED)}
        return samples if shortest == longest else {**samples, "mask": mask}

    def references(self) -> list[Reference]:
        """Chance."""
        return [Token(0, "chance", "always the same symbol: right once in as many as there are")]

    def describe(self) -> dict[str, Any]:
        """Return facts for the report."""
        return {**super().describe(), "vocab_size": self.vocab_size}
