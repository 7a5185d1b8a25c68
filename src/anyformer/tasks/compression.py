"""A compressor as a yardstick for models of bytes."""

from __future__ import annotations

import lzma
import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from anyformer.tasks.base import Reference

if TYPE_CHECKING:
    from anyformer.tasks.base import Task
    from anyformer.tasks.batch import Batch

MOST_BYTES = 4_000_000
"""Most training bytes that are compressed before those of the test: some three seconds a batch."""


class Xz(Reference):
    """xz, which is given the training text: the bits by which text behind it becomes longer when it is compressed.

    A compressor tells no probabilities. Each byte of a batch counts as its share of what the whole batch costs, one
    window behind the other, so that it has a number of bits per byte and nothing else.
    """

    def __init__(self) -> None:
        super().__init__("xz", "the compressor xz, behind the training text")

    def fit(self, task: Task) -> Xz:
        """Compress the training text, of a long one windows from all over it."""
        assert task.vocab_size is not None
        self.vocab_size = task.vocab_size
        self.known = _bytes(task.train_sample(max(1, MOST_BYTES // task.train_length)).x)
        self.size = _compressed(self.known)
        self.description = f"the compressor xz, behind {len(self.known):,} bytes of training text"
        return self

    def predict(self, batch: Batch) -> Tensor:
        """Return log-probabilities ``(B, T, vocab_size)`` by which each right answer costs its share of the batch."""
        bits = 8 * max(1, _compressed(self.known + _bytes(batch.targets)) - self.size)
        told = -math.log(2) * bits / batch.targets.numel()
        others = math.log(-math.expm1(told)) - math.log(self.vocab_size - 1)
        found = torch.full((*batch.targets.shape, self.vocab_size), others)
        return found.scatter_(2, batch.targets[..., None], told)


def _bytes(tokens: Tensor) -> bytes:
    return tokens.to(torch.uint8).numpy().tobytes()


def _compressed(text: bytes) -> int:
    return len(lzma.compress(text, format=lzma.FORMAT_XZ, preset=9))
