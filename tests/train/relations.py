"""A task with a side input: the degree of each node of a random graph, given beside tokens that tell nothing."""

from __future__ import annotations

import numpy as np
import torch

from anyformer.metrics import create_metric
from anyformer.objectives import NextToken
from anyformer.schema import Field, StreamFacts
from anyformer.tasks import Batch, Reference, Split, Task
from anyformer.tasks.references import Token


class Degrees(Task):
    """Graphs of 6 nodes."""

    name, title, train_length = "degrees", "Tell whether each node has more than two edges.", 6
    stream = StreamFacts(shape="set", fields=[Field(name="kind", size=3)])
    side, direction, sees_whole = ("edges",), "both", True

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed
        self.objective = NextToken(2)
        self.metric = create_metric("accuracy", self.question)

    def size(self, split: Split, length: int | None = None) -> int:
        return 512 if split == "train" else 64

    def _take(self, split: Split, index: np.ndarray, length: int) -> Batch:
        key = ("train", "valid", "test").index(split)
        drawn = np.stack(
            [np.random.default_rng([self.seed, key, int(i)]).integers(0, 2, (6, 6)) for i in index]
        )
        edges = torch.from_numpy(np.triu(drawn, 1) + np.triu(drawn, 1).transpose(0, 2, 1))
        targets = (edges.sum(-1) > 2).long()
        return Batch({"kind": torch.ones_like(targets)}, targets, side={"edges": edges})

    def references(self) -> list[Reference]:
        return [Token(1, "chance", "always the same")]
