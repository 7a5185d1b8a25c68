"""Translation from a made-up language into another."""

from __future__ import annotations

from typing import Any

import numpy as np

from anyformer.metrics import create_metric
from anyformer.objectives import IGNORED, NextToken
from anyformer.tasks import register_task
from anyformer.tasks.base import Reference, check_integer
from anyformer.tasks.generated._base import GeneratedTask
from anyformer.tasks.references import Token


@register_task("translation")
class Translation(GeneratedTask):
    """A sentence, a separator, and its translation: words by a dictionary, adjectives behind nouns, names as they are.

    With adjectives a b, nouns N M, names X Y, and words of the other language marked with a prime::

        place    0  1  2  3  4  5  6  7  8  9
        x        a  N  X  M  b  /  N' a' X  M'
        target   .  .  .  .  .  N' a' X  M' b'

    An adjective changes places with a noun right behind it. Words are few and each is seen often, so that they can be
    learned by heart; names are many, each is rare, and all are copied: they must be found in the source. Sentences are
    of ``length // 4`` to ``length // 2`` tokens; what follows a translation is masked out. At a test length all are
    of ``length // 2``: longer than any that was trained on.

    Args:
        words: words of each language, even: half adjectives, half nouns.
        names: names.
        name_share: share of names in a sentence, in percent.
        length: tokens in the longest sample.
        seed: fixes the dictionary and every sample.
    """

    name = "translation"

    def __init__(
        self, *, words: int = 16, names: int = 32, name_share: int = 25, length: int = 40, seed: int = 0
    ) -> None:
        check_integer("words", words, low=2)
        if words % 2:
            raise ValueError(f"words must be even (half adjectives, half nouns), got {words}")
        check_integer("names", names, low=1)
        check_integer("name_share", name_share, low=0, high=100)
        check_integer("length", length, low=8)
        self.words, self.names, self.name_share = words, names, name_share
        self.vocab_size = 2 * words + names + 1
        self.train_length = length - length % 2
        self.lengths = (2 * self.train_length, 4 * self.train_length)
        self.seed = seed
        self.dictionary = words + np.random.default_rng([seed, 281]).permutation(words)
        self.objective = NextToken(self.vocab_size)
        self.metric = create_metric("accuracy", self.question)
        self.title = f"Translate sentences of up to {length // 2} words and names."

    def translate(self, source: np.ndarray) -> np.ndarray:
        """Translate sentences (count, n); negative entries are no tokens and stay."""
        result = np.where(
            (source >= 0) & (source < self.words), self.dictionary[source.clip(0, self.words - 1)], source
        )
        half = self.words // 2
        adjective, noun = (source >= 0) & (source < half), (source >= half) & (source < self.words)
        swap = (
            adjective[:, :-1] & noun[:, 1:]
        )  # pairs cannot overlap: a token would be both adjective and noun
        first, second = result[:, :-1].copy(), result[:, 1:].copy()
        result[:, :-1] = np.where(swap, second, result[:, :-1])
        result[:, 1:] = np.where(swap, first, result[:, 1:])
        return result

    def _generate(self, rng: np.random.Generator, count: int, length: int) -> dict[str, np.ndarray]:
        assert self.vocab_size is not None
        longest, separator = length // 2, self.vocab_size - 1
        shortest = longest // 2 if length == self.train_length else longest
        sizes = rng.integers(shortest, longest + 1, (count, 1))
        place = np.arange(longest)[None]
        named = rng.random((count, longest)) * 100 < self.name_share
        words = rng.integers(0, self.words, (count, longest))
        names = 2 * self.words + rng.integers(0, self.names, (count, longest))
        source = np.where(place < sizes, np.where(named, names, words), -1)
        target = self.translate(source)
        x, targets = np.zeros((count, length), np.int64), np.full((count, length), IGNORED)
        x[:, :longest] = source
        whole = np.arange(length)[None]
        behind = whole - sizes  # 0 at the separator, which predicts the first word
        at = behind.clip(0, longest - 1)
        x = np.where(behind < 0, x, np.take_along_axis(target, (behind - 1).clip(0, longest - 1), 1))
        x = np.where(behind == 0, separator, x)
        targets = np.where((behind >= 0) & (behind < sizes), np.take_along_axis(target, at, 1), IGNORED)
        mask = whole < 2 * sizes
        samples = {"x": np.where(mask, x, 0), "targets": targets}
        return samples if shortest == longest else {**samples, "mask": mask}

    def references(self) -> list[Reference]:
        """Chance."""
        return [Token(self.words, "chance", "always the same word of the other language")]

    def describe(self) -> dict[str, Any]:
        """Return facts for the report."""
        return {**super().describe(), "vocab_size": self.vocab_size, "words": self.words, "names": self.names}
