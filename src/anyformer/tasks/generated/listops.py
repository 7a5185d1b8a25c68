"""ListOps: nested operations on digits."""

from __future__ import annotations

from typing import Any

import numpy as np

from anyformer.metrics import create_metric
from anyformer.objectives import Classify
from anyformer.tasks import register_task
from anyformer.tasks.base import Reference, check_integer
from anyformer.tasks.generated._base import GeneratedTask
from anyformer.tasks.references import Majority, NGramLinear

TOKENS = [*"0123456789", "[MAX", "[MIN", "[MED", "[SM", "]"]
_FIRST_OP, _CLOSE = 10, 14
_MAX_DEPTH = 8
_OPEN_CHANCE, _CLOSE_CHANCE = 0.25, 0.25


@register_task("listops")
class ListOps(GeneratedTask):
    """The value of a nested expression of MAX, MIN, MED (median, rounded down) and SM (sum modulo 10).

    Tokens 0 to 9 are the digits, 10 to 13 open ``[MAX``, ``[MIN``, ``[MED``, ``[SM``, and 14 closes::

        text     [MAX   2  [SM   8   7   ]  [MED   1   4   9   ]   0   ]
        x         10    2   13   8   7  14    12   1   4   9  14   0  14
        target   5              (SM: 8 + 7 = 15, mod 10: 5.  MED: 4.  MAX of 2, 5, 4, 0: 5)

    The task is that of arXiv 1804.06028, made long by arXiv 2011.04006. Every list has at least two items, lists
    nest up to 8 deep, and the number of tokens is even over ``length // 2`` to ``length``; shorter samples are
    padded and masked. At a test length all samples have that many tokens.

    Args:
        length: tokens in the longest sample.
        seed: fixes every sample.
    """

    name = "listops"
    vocab_size = len(TOKENS)

    def __init__(self, *, length: int = 64, seed: int = 0) -> None:
        check_integer("length", length, low=8)
        self.train_length = length
        self.lengths = (2 * length, 4 * length)
        self.seed = seed
        self.objective = Classify(10)
        self.metric = create_metric("accuracy", self.question)
        self.title = f"Evaluate nested MAX, MIN, MED and SM over digits, in up to {length} tokens."

    def _generate(self, rng: np.random.Generator, count: int, length: int) -> dict[str, np.ndarray]:
        shortest = length // 2 if length == self.train_length else length
        sizes = rng.integers(shortest, length + 1, count)
        x = _expressions(rng, sizes, length)
        samples = {"x": x, "targets": evaluate(x, sizes)}
        if shortest < length:
            samples["mask"] = np.arange(length)[None] < sizes[:, None]
        return samples

    def references(self) -> list[Reference]:
        """The most frequent answer, and a linear model on counts of token n-grams."""
        return [Majority(), NGramLinear()]

    def describe(self) -> dict[str, Any]:
        """Return facts for the report."""
        return {**super().describe(), "classes": 10, "max_depth": _MAX_DEPTH}


def _expressions(rng: np.random.Generator, sizes: np.ndarray, length: int) -> np.ndarray:
    """Return random expressions ``(N, length)`` of exactly ``sizes`` tokens each, all built side by side.

    ``open_lists`` closings and ``owed`` items always remain to be placed (a list owes items until it has two), so an
    item, a list or a closing is placed only if the remaining tokens suffice for what is then owed.
    """
    count = len(sizes)
    rows = np.arange(count)
    x = np.zeros((count, length), np.int64)
    x[:, 0] = rng.integers(_FIRST_OP, _CLOSE, count)
    depth, owed = np.ones(count, np.int64), np.full(count, 2)
    items = np.zeros((count, _MAX_DEPTH + 1), np.int64)  # in the open list of each depth
    for place in range(1, length):
        left = sizes - place
        have = items[rows, depth]
        spare = left - depth - owed
        short = have < 2  # an item here is one of those owed
        can_open = (depth < _MAX_DEPTH) & (spare + short >= 4) & (left > 0)
        must_close = (have >= 2) & (spare == 0) & (left > 0)
        can_close = (have >= 2) & (depth > 1) & (left > 0)
        luck = rng.random(count)
        close = must_close | (can_close & (luck < _CLOSE_CHANCE))
        opens = ~close & can_open & (luck > 1 - _OPEN_CHANCE)
        digit = ~close & ~opens & (left > 0)
        x[:, place] = np.where(close, _CLOSE, 0)
        x[opens, place] = rng.integers(_FIRST_OP, _CLOSE, count)[opens]
        x[digit, place] = rng.integers(0, 10, count)[digit]
        added = opens | digit
        items[rows[added], depth[added]] += 1
        owed -= added & short
        depth += opens.astype(np.int64) - close
        owed += 2 * opens
        items[rows[opens], depth[opens]] = 0
    assert (depth == 0).all() and (owed == 0).all()
    return x


def evaluate(x: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Return the values ``(N,)`` of expressions ``(N, T)`` of ``sizes`` tokens, each list kept as counts of digits."""
    count = len(x)
    rows = np.arange(count)
    depth = np.zeros(count, np.int64)
    op = np.zeros((count, _MAX_DEPTH + 1), np.int64)
    counts = np.zeros((count, _MAX_DEPTH + 1, 10), np.int64)  # depth 0 receives the value of the whole
    for place in range(x.shape[1]):
        token = np.where(place < sizes, x[:, place], -1)
        opens = rows[(token >= _FIRST_OP) & (token < _CLOSE)]
        depth[opens] += 1
        op[opens, depth[opens]] = token[opens]
        counts[opens, depth[opens]] = 0
        digits = rows[(token >= 0) & (token < 10)]
        counts[digits, depth[digits], token[digits]] += 1
        closes = rows[token == _CLOSE]
        value = _apply(op[closes, depth[closes]], counts[closes, depth[closes]])
        depth[closes] -= 1
        counts[closes, depth[closes], value] += 1
    return counts[:, 0].argmax(1)


def _apply(op: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Return the results ``(N,)`` of operations on multisets of digits, given as ``counts`` ``(N, 10)``."""
    digits = np.arange(10)
    running, total = counts.cumsum(1), counts.sum(1, keepdims=True)
    smallest = (counts > 0).argmax(1)
    largest = 9 - (counts[:, ::-1] > 0).argmax(1)
    lower = (running > (total - 1) // 2).argmax(1)
    upper = (running > total // 2).argmax(1)
    results = np.stack([largest, smallest, (lower + upper) // 2, (counts * digits).sum(1) % 10])
    picked: np.ndarray = results[op - _FIRST_OP, np.arange(len(op))]
    return picked
