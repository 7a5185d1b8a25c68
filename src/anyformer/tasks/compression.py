"""A compressor as a yardstick for models of bytes."""

from __future__ import annotations

import lzma
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from anyformer.tasks.base import Reference

if TYPE_CHECKING:
    from anyformer.tasks.base import Task
    from anyformer.tasks.batch import Batch

MOST_BYTES = 2_000_000
"""Most training bytes that are compressed before those of the test: some two thirds of a second for each part."""
PARTS = 4
"""Parts of a batch that are compressed by themselves, so that it shows how much the bits vary."""


class Xz(Reference):
    """xz, which is given the training text: the bits by which text behind it becomes longer when it is compressed.

    A compressor tells no probabilities. Each byte counts as its share of what a quarter of its batch costs, one window
    behind the other, so that it has a number of bits per byte and nothing else.
    """

    exceptions: ClassVar[Mapping[str, str]] = {
        "references": "it predicts nothing: what a text costs is known once it is there, and depends on that before it"
    }

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
        """Return log-probabilities ``(B, T, vocab_size)`` by which each right answer costs its share."""
        rows = -(-len(batch.targets) // PARTS)
        return torch.cat([self._told(targets) for targets in batch.targets.split(rows)])

    def _told(self, targets: Tensor) -> Tensor:
        bits = 8 * max(1, _compressed(self.known + _bytes(targets)) - self.size)
        told = -math.log(2) * bits / targets.numel()
        others = math.log(-math.expm1(told)) - math.log(self.vocab_size - 1)
        found = torch.full((*targets.shape, self.vocab_size), others)
        return found.scatter_(2, targets[..., None], told)


def _bytes(tokens: Tensor) -> bytes:
    return tokens.to(torch.uint8).numpy().tobytes()


def _compressed(text: bytes) -> int:
    return len(lzma.compress(text, format=lzma.FORMAT_XZ))
