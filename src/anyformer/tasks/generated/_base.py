"""Tasks whose samples are generated, never stored."""

from __future__ import annotations

from abc import abstractmethod

import numpy as np
import torch

from anyformer.tasks.base import Split, Task
from anyformer.tasks.batch import Batch

BLOCK = 1024
_STREAMS: dict[Split, int] = {"train": 0, "valid": 1, "test": 2}


class GeneratedTask(Task):
    """A task that makes its samples in blocks of 1024.

    Sample ``i`` of a split and length is row ``i % 1024`` of block ``i // 1024``, and each block has its own random
    stream: any sample can be made without those before it, and does not depend on how samples are batched. The train
    stream has no end, so no sample is seen twice.
    """

    endless = True
    _eval_size = 1024
    """Number of samples in a test; a validation has half as many."""

    @abstractmethod
    def _generate(self, rng: np.random.Generator, count: int, length: int) -> dict[str, np.ndarray]:
        """Return ``count`` samples of ``length`` tokens: ``x``, ``targets``, and ``mask`` if they are ragged."""

    def size(self, split: Split, length: int | None = None) -> int:
        """Return the size of the split; the endless train stream is represented by 4096 samples."""
        return {"train": 4096, "valid": self._eval_size // 2, "test": self._eval_size}[split]

    def train_batch(self, step: int, batch_size: int) -> Batch:
        """Return the batch of training step ``step``: the next ``batch_size`` samples of the stream."""
        return self._take("train", np.arange(step * batch_size, (step + 1) * batch_size), self.train_length)

    def _take(self, split: Split, index: np.ndarray, length: int) -> Batch:
        blocks = index // BLOCK
        parts = []
        for block in np.unique(blocks):
            rows = index[blocks == block] % BLOCK
            parts.append(
                {name: value[rows] for name, value in self._block(split, int(block), length).items()}
            )
        arrays = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        tensors = {name: torch.from_numpy(value) for name, value in arrays.items()}
        return Batch(tensors["x"], tensors["targets"], tensors.get("mask"))

    def _block(self, split: Split, block: int, length: int) -> dict[str, np.ndarray]:
        key = (split, block, length)
        held: dict[tuple[Split, int, int], dict[str, np.ndarray]] = self.__dict__.setdefault("_held", {})
        if key not in held:
            if len(held) >= 4:
                del held[next(iter(held))]
            rng = np.random.default_rng([self.seed, _STREAMS[split], length, block])
            held[key] = self._generate(rng, BLOCK, length)
        return held[key]
