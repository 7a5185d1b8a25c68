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
"""Most training bytes that are compressed before those of the test: about a second for each part."""
PARTS = 4
"""Most parts of the test split that are compressed by themselves, so that it shows how much the bits vary."""
PART_BYTES = 16_384
"""Least bytes of a part: a shorter one would mostly pay for being a part."""


class Xz(Reference):
    """xz, which is given the training text: the bits by which text behind it becomes longer when it is compressed.

    A compressor tells no probabilities. Each byte of the test split counts as its share of what its part of the split
    costs, at most a quarter, one window behind the other, so that it has a number of bits per byte and nothing else.
    Bytes of other texts count as their share of what their batch costs. Sizes are those of the compressed data, without
    the file around it.
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
        new = task.sample("test", task.size("test")).targets
        self.costs: dict[bytes, float] = {}
        """Bits of a byte of each window of the test split."""
        parts = min(PARTS, max(1, new.numel() // PART_BYTES))
        for part in new.split(-(-len(new) // parts)):
            self.costs.update(dict.fromkeys(map(_bytes, part), self._bits(part)))
        self.length = task.train_length
        behind = f"{len(self.known):,} bytes of training text and the windows of the test before"
        self.description = f"the compressor xz, behind {behind}"
        return self

    def predict(self, batch: Batch) -> Tensor:
        """Return log-probabilities ``(B, T, vocab_size)`` by which each right answer costs its share."""
        B, T = batch.targets.shape
        each = (
            [_bytes(window) for window in batch.targets.reshape(-1, self.length)]
            if T % self.length == 0
            else []
        )
        if each and all(window in self.costs for window in each):
            bits = torch.tensor([self.costs[window] for window in each]).view(B, -1).mean(1)
        else:
            bits = torch.full((B,), self._bits(batch.targets))
        told = (-math.log(2) * bits).double()[:, None, None]
        others = torch.log(-torch.expm1(told)) - math.log(self.vocab_size - 1)
        found = others.expand(B, T, self.vocab_size).clone()
        return found.scatter_(2, batch.targets[..., None], told.expand(B, T, 1)).float()

    def _bits(self, targets: Tensor) -> float:
        """Return the bits of each byte of these (B, T) behind the training text."""
        return 8 * max(1, _compressed(self.known + _bytes(targets)) - self.size) / targets.numel()


def _bytes(tokens: Tensor) -> bytes:
    return tokens.to(torch.uint8).numpy().tobytes()


def _compressed(text: bytes) -> int:
    return len(lzma.compress(text, format=lzma.FORMAT_RAW, filters=[{"id": lzma.FILTER_LZMA2}]))
