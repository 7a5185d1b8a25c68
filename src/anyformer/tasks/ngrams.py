"""N-grams: counts of the tokens that follow each context, interpolated with those of shorter ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from anyformer.tasks.base import Reference
from anyformer.tasks.references import score_reference

if TYPE_CHECKING:
    from anyformer.tasks.base import Task
    from anyformer.tasks.batch import Batch

VALID_ITEMS = 64
"""Validation samples by which order and smoothing are chosen."""
KNESER_NEY, WITTEN_BELL = "modified Kneser-Ney", "Witten-Bell"


@dataclass(frozen=True, eq=False)
class _Table:
    """Probabilities after contexts of one length: of a token its share, and ``rest`` times that after a shorter one.

    Attributes:
        contexts: ``(C,)`` codes, ascending.
        starts: ``(C + 1,)``, where the entries of each context begin.
        rest: ``(C,)`` float32.
        tokens, shares: ``(E,)``, those that were counted after the contexts.
    """

    contexts: np.ndarray
    starts: np.ndarray
    rest: np.ndarray
    tokens: np.ndarray
    shares: np.ndarray

    @classmethod
    def of(cls, pairs: np.ndarray, counts: np.ndarray, totals: np.ndarray, rest: np.ndarray) -> _Table:
        """Return that of pairs ``(2, E)`` with these counts, by which totals ``(C,)`` of their contexts are divided."""
        contexts, starts, sizes = np.unique(pairs[0], return_index=True, return_counts=True)
        shares = counts / np.repeat(totals, sizes)
        return cls(
            contexts,
            np.append(starts, len(counts)),
            (rest / totals).astype(np.float32),
            pairs[1],
            shares.astype(np.float32),
        )


class NGram(Reference):
    """Interpolated n-grams with Witten-Bell weights, counted on the train split.

    P_n(c | h) = (count(h c) + T(h) P_{n-1}(c | h')) / (N(h) + T(h)), where h' is h without its oldest token, N(h)
    counts what followed h and T(h) the different tokens among it; P_0 is uniform (Witten and Bell 1991, method C).
    """

    def __init__(self, order: int, max_tokens: int = 4_000_000) -> None:
        name = {1: "unigram", 2: "bigram", 3: "trigram"}.get(order, f"{order}-gram")
        what = "frequencies of tokens" if order == 1 else f"counts of up to {order} tokens, interpolated"
        super().__init__(name, what)
        self.order, self.max_tokens = order, max_tokens

    def fit(self, task: Task) -> NGram:
        """Count on at most ``max_tokens`` tokens spread over the train split."""
        assert task.vocab_size is not None
        if task.vocab_size**self.order >= 2**62:
            raise ValueError(f"a {self.order}-gram over {task.vocab_size} tokens does not fit 64 bits")
        self.vocab_size = task.vocab_size
        batch = task.train_sample(max(1, self.max_tokens // task.train_length))
        x, targets = batch.x.numpy(), batch.targets.numpy()
        self.tables = [_witten_bell(*self._count(x, targets, n)) for n in range(self.order)]
        self.parameters = sum(len(table.shares) for table in self.tables)
        return self

    def _count(self, x: np.ndarray, targets: np.ndarray, context: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the pairs of a context of ``context`` tokens, as a code, and the token after it, with their counts."""
        codes, answers = self._codes(x, context), targets[:, max(context - 1, 0) :]
        known = answers >= 0
        pairs, counts = np.unique(codes[known] * self.vocab_size + answers[known], return_counts=True)
        return np.stack(np.divmod(pairs, self.vocab_size)), counts

    def _codes(self, x: np.ndarray, context: int) -> np.ndarray:
        """Return the last ``context`` tokens at each position that has that many, coded as one integer."""
        width = x.shape[1] - max(context - 1, 0)
        codes = np.zeros((x.shape[0], max(width, 0)), np.int64)
        for offset in range(context):
            codes = codes * self.vocab_size + x[:, offset : offset + width]
        return codes

    def predict(self, batch: Batch) -> Tensor:
        """Return log-probabilities ``(B, T, vocab_size)``."""
        x = batch.x.cpu().numpy()
        rows = max(1, 8192 // x.shape[1])
        parts = [self._probabilities(x[start : start + rows]) for start in range(0, len(x), rows)]
        return torch.from_numpy(np.log(np.concatenate(parts)))

    def _probabilities(self, x: np.ndarray) -> np.ndarray:
        batch, time = x.shape
        p = np.full((batch, time, self.vocab_size), 1 / self.vocab_size, np.float32)
        for context, table in enumerate(self.tables):
            first = max(context - 1, 0)
            if first >= time or not len(table.contexts):
                break
            codes = self._codes(x, context).ravel()
            place = np.searchsorted(table.contexts, codes).clip(0, len(table.contexts) - 1)
            hit = np.flatnonzero(table.contexts[place] == codes)
            place = place[hit]
            different = table.starts[place + 1] - table.starts[place]
            view = p[:, first:].reshape(-1, self.vocab_size)  # a copy where first > 0: written back below
            view[hit] *= table.rest[place, None]
            shift = np.append(0, different.cumsum())[:-1]
            entries = np.arange(different.sum()) + np.repeat(table.starts[place] - shift, different)
            view[np.repeat(hit, different), table.tokens[entries]] += table.shares[entries]
            p[:, first:] = view.reshape(batch, time - first, self.vocab_size)
        return p


def _sums(pairs: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return the sums of values ``(E,)`` over the entries of each context ``(C,)``."""
    starts = np.flatnonzero(np.diff(pairs[0], prepend=-1))
    return np.add.reduceat(values, starts) if len(values) else values


def _witten_bell(pairs: np.ndarray, counts: np.ndarray) -> _Table:
    different = _sums(pairs, np.ones(len(counts)))
    return _Table.of(pairs, counts, _sums(pairs, counts) + different, different)


class BestNGram(NGram):
    """Interpolated n-grams whose order and smoothing the validation split chooses: Witten-Bell or modified Kneser-Ney.

    The latter (Chen and Goodman 1998, section 3) is
    P_n(c | h) = (count(h c) - D(count(h c))) / N(h) + (the sum of the D of what followed h) / N(h) P_{n-1}(c | h'). For
    the longest h, counts are those of training; for shorter ones, of the different tokens before h c. A count of 1, 2,
    and 3 or more has a discount D of its own, estimated for each length; P_0 is uniform.
    """

    def __init__(self, orders: Sequence[int], max_tokens: int = 4_000_000) -> None:
        super().__init__(max(orders), max_tokens)
        self.orders = orders
        self.name, self.description = "n-gram", "n-grams, their order and smoothing by validation"

    def fit(self, task: Task) -> BestNGram:
        """Count on at most ``max_tokens`` tokens, and choose order and smoothing."""
        assert task.vocab_size is not None
        self.vocab_size = task.vocab_size
        batch = task.train_sample(max(1, self.max_tokens // task.train_length))
        x, targets = batch.x.numpy(), batch.targets.numpy()
        counted = [self._count(x, targets, n) for n in range(max(self.orders))]
        lower = [_kneser_ney(*self._before(longer, n)) for n, longer in enumerate(counted[1:])]
        raw = [_witten_bell(*one) for one in counted]
        found = []
        for order in self.orders:
            smoothed = {
                KNESER_NEY: [*lower[: order - 1], _kneser_ney(*counted[order - 1])],
                WITTEN_BELL: raw[:order],
            }
            for smoothing, self.tables in smoothed.items():
                score = task.metric.info.sign * score_reference(self, task, "valid", items=VALID_ITEMS)
                found.append((score, order, smoothing, self.tables))
        _, self.order, self.smoothing, self.tables = max(found, key=lambda one: one[0])
        self.parameters = sum(len(table.shares) for table in self.tables)
        self.description = f"{self.order}-grams with {self.smoothing} smoothing, both by validation"
        return self

    def _before(self, longer: tuple[np.ndarray, np.ndarray], length: int) -> tuple[np.ndarray, np.ndarray]:
        """Return pairs of contexts of ``length`` tokens, and how many different tokens were before each."""
        contexts, tokens = longer[0]
        codes = contexts % self.vocab_size**length * self.vocab_size + tokens
        pairs, counts = np.unique(codes, return_counts=True)
        return np.stack(np.divmod(pairs, self.vocab_size)), counts


def _kneser_ney(pairs: np.ndarray, counts: np.ndarray) -> _Table:
    numbers = np.bincount(np.minimum(counts, 5), minlength=5)[1:5].astype(float)
    discounts = np.array([0.0, 0.5, 1.0, 1.5])  # where there are too few counts to estimate them
    if (numbers > 0).all():
        share = numbers[0] / (numbers[0] + 2 * numbers[1])
        ratios = np.arange(1, 4) - np.arange(2, 5) * share * numbers[1:] / numbers[:-1]
        discounts[1:] = ratios.clip(0.05, [1, 2, 3])
    taken = discounts[np.minimum(counts, 3)]
    return _Table.of(pairs, counts - taken, _sums(pairs, counts), _sums(pairs, taken))
