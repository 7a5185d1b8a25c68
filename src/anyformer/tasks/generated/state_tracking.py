"""Following a state through a sequence of swaps."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np

from anyformer.metrics import create_metric
from anyformer.objectives import NextToken
from anyformer.tasks import register_task
from anyformer.tasks.base import Reference, check_integer
from anyformer.tasks.generated._base import GeneratedTask
from anyformer.tasks.references import Token


@register_task("state_tracking")
class StateTracking(GeneratedTask):
    """A ball lies under the first of several cups; cups are swapped, two at a time: where is it after each swap?

    With 3 cups there are the swaps 0-1 (token 0), 0-2 (token 1) and 1-2 (token 2), and the one that moves nothing
    (token 3)::

        x        1  2  3  0  2
        target   2  1  1  0  0

    The swaps generate all permutations of the cups. With 5 of them, following the ball is as hard as the word
    problem of S5, which neither attention nor a recurrence with diagonal decays solves at every length with a bounded
    number of layers, unless TC0 = NC1 (Merrill 2024, arXiv 2404.08819; the ball is our short form of it).

    Args:
        num_cups: cups, 2 to 8; 2 is parity.
        length: swaps in a sample.
        seed: fixes every sample.
    """

    name = "state_tracking"

    def __init__(self, *, num_cups: int = 5, length: int = 32, seed: int = 0) -> None:
        check_integer("num_cups", num_cups, low=2, high=8)
        check_integer("length", length, low=2)
        self.swaps = np.array([*combinations(range(num_cups), 2), (0, 0)])
        self.num_cups = num_cups
        self.vocab_size = max(num_cups, len(self.swaps))
        self.train_length = length
        self.lengths = (2 * length, 4 * length)
        self.seed = seed
        self.objective = NextToken(self.vocab_size)
        self.metric = create_metric("accuracy", self.question)
        self.title = f"Say under which of {num_cups} cups the ball is after each of {length} swaps."

    def _generate(self, rng: np.random.Generator, count: int, length: int) -> dict[str, np.ndarray]:
        x = rng.integers(0, len(self.swaps), (count, length))
        first, second = self.swaps[x, 0], self.swaps[x, 1]
        targets, ball = np.empty_like(x), np.zeros(count, np.int64)
        for t in range(length):
            ball = np.where(
                ball == first[:, t], second[:, t], np.where(ball == second[:, t], first[:, t], ball)
            )
            targets[:, t] = ball
        return {"x": x, "targets": targets}

    def references(self) -> list[Reference]:
        """Always the first cup."""
        return [Token(0, "first cup", "where it began, whatever was swapped")]

    def describe(self) -> dict[str, Any]:
        """Return facts for the report."""
        return {**super().describe(), "cups": self.num_cups, "swaps": len(self.swaps)}
