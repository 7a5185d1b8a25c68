"""One question about facts anywhere in a sequence."""

from __future__ import annotations

from typing import Any

import numpy as np

from anyformer.metrics import create_metric
from anyformer.objectives import Classify
from anyformer.tasks import register_task
from anyformer.tasks.base import Reference, check_integer
from anyformer.tasks.generated._base import GeneratedTask
from anyformer.tasks.references import Majority, NGramLinear


@register_task("lookup")
class Lookup(GeneratedTask):
    """Label a sequence: a question comes first, and one of the facts among the blanks after it is the answer.

    A fact is one token, a key with its value. With 4 keys, 3 values and 3 facts at length 8 (token 0 is blank, 1 to 4
    ask for key 0 to 3, and 5 + 3 k + v says that key k has value v)::

        place    0  1  2  3  4  5  6  7
        x        3  0 11  6  0  0 15  0      asks for key 2; facts: 2 is 0, 0 is 1, 3 is 1
        target   0

    It takes attention to one position; no counts of tokens or n-grams suffice. The positions of facts carry no
    information, and a longer sample has more blanks.

    Args:
        num_keys, num_values: numbers of keys and values.
        num_facts: facts in a sample, each of another key.
        length: tokens in a sample.
        seed: fixes every sample.
    """

    name = "lookup"

    def __init__(
        self, *, num_keys: int = 4, num_values: int = 4, num_facts: int = 4, length: int = 16, seed: int = 0
    ) -> None:
        check_integer("num_values", num_values, low=2)
        check_integer("num_facts", num_facts, low=2)
        check_integer("num_keys", num_keys, low=num_facts)
        check_integer("length", length, low=num_facts + 1)
        self.num_keys, self.num_values, self.num_facts = num_keys, num_values, num_facts
        self.vocab_size = 1 + num_keys + num_keys * num_values
        self.train_length = length
        self.lengths = (2 * length, 4 * length)
        self.seed = seed
        self.objective = Classify(num_values)
        self.metric = create_metric("accuracy", self.question)
        self.title = (
            f"Find the key that is asked for among {num_facts} facts: it has one of {num_values} values."
        )

    def _generate(self, rng: np.random.Generator, count: int, length: int) -> dict[str, np.ndarray]:
        facts = self.num_facts
        keys = rng.permuted(np.tile(np.arange(self.num_keys), (count, 1)), axis=1)[:, :facts]
        values = rng.integers(0, self.num_values, (count, facts))
        places = rng.permuted(np.tile(np.arange(1, length), (count, 1)), axis=1)[:, :facts]
        x = np.zeros((count, length), np.int64)
        x[:, 0] = 1 + keys[:, 0]
        np.put_along_axis(x, places, 1 + self.num_keys + keys * self.num_values + values, axis=1)
        return {"x": x, "targets": values[:, 0]}

    def references(self) -> list[Reference]:
        """The most frequent answer, and a linear model on counts of token n-grams."""
        return [Majority(), NGramLinear()]

    def describe(self) -> dict[str, Any]:
        """Return facts for the report."""
        return {**super().describe(), "vocab_size": self.vocab_size, "classes": self.num_values}
