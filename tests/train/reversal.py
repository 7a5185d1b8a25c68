"""A task with a source: its tokens backwards."""

from __future__ import annotations

import numpy as np
import torch

from anyformer.metrics import create_metric
from anyformer.objectives import IGNORED, NextToken
from anyformer.schema import InputFacts, Stream
from anyformer.tasks import Batch, Reference, Split, Task
from anyformer.tasks.references import Token


class Reversal(Task):
    """Sources of 2 to ``length`` tokens; the inputs are token 0, and the target's tokens so far."""

    name, title = "reversal", "Reverse a sequence."

    def __init__(self, length: int = 6, words: int = 5, seed: int = 0) -> None:
        self.vocab_size = words + 1
        self.source = InputFacts(vocab_size=words + 1)
        self.train_length = self.source_length = length
        self.objective = NextToken(words + 1)
        self.metric = create_metric("accuracy", self.question)
        self.seed = seed

    def size(self, split: Split, length: int | None = None) -> int:
        return 2048 if split == "train" else 64

    def _take(self, split: Split, index: np.ndarray, length: int) -> Batch:
        key = ("train", "valid", "test").index(split)
        drawn = [np.random.default_rng([self.seed, key, int(i)]) for i in index]
        sources = [rng.integers(1, self.words + 1, rng.integers(2, length + 1)) for rng in drawn]
        source, x, y = (np.zeros((len(index), length), np.int64) for _ in range(3))
        for row, tokens in enumerate(sources):
            source[row, : len(tokens)] = tokens
            x[row, 1 : len(tokens)], y[row, : len(tokens)] = tokens[:0:-1], tokens[::-1]
        mask = torch.from_numpy(source > 0)
        targets = torch.from_numpy(np.where(source > 0, y, IGNORED))
        return Batch(torch.from_numpy(x), targets, mask, source=Stream(torch.from_numpy(source), mask))

    @property
    def words(self) -> int:
        assert self.vocab_size is not None
        return self.vocab_size - 1

    def references(self) -> list[Reference]:
        return [Token(1, "chance", "always the same token")]
