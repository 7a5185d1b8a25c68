"""Predictors of the next item without a sequence model."""

from __future__ import annotations

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from anyformer.questions import IGNORED
from anyformer.tasks.base import Reference, Task
from anyformer.tasks.batch import Batch
from anyformer.tasks.categories import FIRST, Category
from anyformer.tasks.eventlog import EventLog
from anyformer.tasks.references import score_reference

NEIGHBOURS = 100
"""Number of items that each item goes with."""
BLOCK = 1024
"""Items whose neighbours are found at once."""
FADING = 0.8
"""Factor on the weight of an item for each event after it."""
TINY = 1e-6
AT_ONCE = 2**19
"""Probabilities that are looked at together, of one place in each sample."""
MOST_ITEMS = 4000
"""The most items between which EASE has weights, whose matrix is inverted for each penalty."""
PENALTIES = (1.0, 10.0, 100.0, 1000.0)
VALID_SAMPLES = 512
"""Validation samples by which the penalty of EASE, and the weight of items that came before, are chosen."""


def item_references(log: EventLog, codes: np.ndarray, item: Category, length: int) -> list[Reference]:
    """Return the predictors on the leaderboard of a task that asks for the next item.

    Args:
        log: the events.
        codes: ``(N,)``, the item of each event.
        item: the items.
        length: the most inputs of a sample.
    """
    kinds = [Popularity, LastItem, FirstOrder, Neighbours, *([] if too_many(item) else [Ease])]
    return [kind(log, codes, item, length) for kind in kinds]


def too_many(item: Category) -> list[str]:
    """Return a remark if there are too many items for EASE; no remark otherwise."""
    if len(item.values) <= MOST_ITEMS:
        return []
    return [
        f"EASE is not among the references: too costly for {len(item.values):,} items, above {MOST_ITEMS:,}"
    ]


class Popularity(Reference):
    """Tell the frequencies of items in training, whatever came before.

    Its arguments are those of :func:`item_references`. Subclasses mix the frequencies p with what they know:
    P(j | events) = w p_j + q_j, with a share w and few q_j above 0. Some multiply it, at items
    that came before, by how much likelier such items are in the validation split than it tells, if that makes its
    score there better: nobody rates a film twice, and songs are heard again.
    """

    title, about = "popularity", "always the most frequent items"
    again = 0.0
    """Logarithm of the factor on items that came before."""

    def __init__(self, log: EventLog, codes: np.ndarray, item: Category, length: int) -> None:
        super().__init__(self.title, self.about)
        self.log, self.codes, self.item, self.length = log, codes, item, length

    def fit(self, task: Task) -> Popularity:
        """Count the items of the training part."""
        codes = self.codes[self.log.trained]
        counts = 1 + np.bincount(codes[codes >= FIRST] - FIRST, minlength=len(self.item.values))
        self.shares, self.again = counts / counts.sum(), 0.0
        return self

    def _learn_repetition(self, task: Task) -> None:
        """Set the factor on items that came before by the validation split, if its score is better with it."""
        told = came = 0.5
        asked = 1
        size = max(1, AT_ONCE // len(self.shares))
        for batch in task.eval_batches("valid", size, index=task.subset("valid", VALID_SAMPLES)):
            answers = batch.targets.cpu().numpy().ravel()
            known = answers != IGNORED
            before = self._before(batch)[known]
            p = self.predict(batch).exp().flatten(0, 1).numpy()[known]
            told += float(before.multiply(p).sum())
            rows = np.flatnonzero(answers[known] >= 0)
            came += float(before[rows, answers[known][rows]].sum())
            asked += int(known.sum())
        factor = float(np.log(came / (asked - came)) - np.log(told / max(asked - told, 0.5)))
        alone = score_reference(self, task, "valid", items=VALID_SAMPLES)
        self.again = factor
        gain = task.metric.info.sign * (score_reference(self, task, "valid", items=VALID_SAMPLES) - alone)
        self.again = factor if gain > 0 else 0.0

    def _before(self, batch: Batch) -> sparse.csr_matrix:
        """Return 1 at the items before each place that is asked ``(B * N, items)``."""
        codes, at = self._places(batch)
        found = _before(codes, at, self.item.size, np.ones(codes.shape[1]))[:, FIRST:]
        found.data[:] = 1
        return found.astype(np.float32)

    def _places(self, batch: Batch) -> tuple[np.ndarray, np.ndarray]:
        """Return the codes ``(B, T)`` of a batch, and the places ``(B, N)`` that are asked."""
        assert not isinstance(batch.inputs, Tensor)
        codes = batch.inputs[self.item.name].cpu().numpy()
        if batch.at is not None:
            return codes, batch.at.cpu().numpy()
        return codes, np.arange(codes.shape[1])[None].repeat(len(codes), 0)

    def predict(self, batch: Batch) -> Tensor:
        """Return log-probabilities ``(B, N, items)`` float32 at the places that are asked."""
        codes, at = self._places(batch)
        share, known = self._mix(codes, at)
        logs = np.log(self.shares).astype(np.float32) + np.log(share).astype(np.float32)[:, None]
        row = np.repeat(np.arange(at.size), np.diff(known.indptr))
        logs[row, known.indices] = np.log(share[row] * self.shares[known.indices] + known.data)
        found = torch.from_numpy(logs)
        if self.again:
            found += self.again * torch.from_numpy(self._before(batch).toarray())
            found = found.log_softmax(-1)
        return found.reshape(*at.shape, -1)

    def _mix(self, codes: np.ndarray, at: np.ndarray) -> tuple[np.ndarray, sparse.csr_matrix]:
        """Return w ``(B * N,)`` and q ``(B * N, items)`` after the places ``at`` ``(B, N)`` of codes ``(B, T)``."""
        return np.ones(at.size), sparse.csr_matrix((at.size, len(self.shares)))


class LastItem(Popularity):
    """Tell the last item again, then the most frequent ones."""

    title, about = "last item", "the last item again, then the most frequent ones"

    def _mix(self, codes: np.ndarray, at: np.ndarray) -> tuple[np.ndarray, sparse.csr_matrix]:
        last = np.take_along_axis(codes, at, 1).ravel() - FIRST
        row = np.flatnonzero(last >= 0)
        known = sparse.csr_matrix((np.full(len(row), 0.5), (row, last[row])), (at.size, len(self.shares)))
        return np.where(last >= 0, 0.5, 1.0), known


class FirstOrder(Popularity):
    """Tell what followed the last item in training.

    P(j | i) = (n_ij + t_i p_j) / (n_i + t_i), with the counts n_ij of j after i, their sum n_i, the number t_i of
    different items after i, and the frequencies p (Witten and Bell 1991, method C).
    """

    title, about = "first-order Markov", "counts of what followed the last item, smoothed by frequencies"

    def fit(self, task: Task) -> FirstOrder:
        """Count the pairs of events of the training part."""
        super().fit(task)
        asked = self.log.asked("train")
        before, after = self.codes[asked - 1], self.codes[asked] - FIRST
        known = after >= 0
        shape = (self.item.size, len(self.shares))
        ones = np.ones(int(known.sum()), np.float32)
        self.counts = sparse.csr_matrix((ones, (before[known], after[known])), shape=shape)
        self.counts.sum_duplicates()
        self._learn_repetition(task)
        return self

    def _mix(self, codes: np.ndarray, at: np.ndarray) -> tuple[np.ndarray, sparse.csr_matrix]:
        counts = self.counts[np.take_along_axis(codes, at, 1).ravel()]
        different = np.diff(counts.indptr)
        total = np.asarray(counts.sum(1)).ravel() + different
        known = sparse.csr_matrix(sparse.diags(1 / np.maximum(total, 1)) @ counts)
        return np.where(total > 0, different / np.maximum(total, 1), 1.0), known


class Neighbours(Popularity):
    """Tell the items that go with the last ones: item-based nearest neighbours (Deshpande and Karypis 2004).

    The likeness of two items is the cosine of the training samples that hold them; an item's score is the sum of its
    likeness to all items before, which fades with the events after them. Among items of no likeness, the most frequent
    ones come first.
    """

    title, about = "item neighbours", "items that occur with the last ones, by the cosine of their samples"

    def fit(self, task: Task) -> Neighbours:
        """Find the neighbours of each item in the training samples."""
        super().fit(task)
        begin, _, end, _ = self.log.samples("train", self.length)
        sizes = end + 1 - begin  # the last item, which is asked, goes with the others
        owner = np.repeat(np.arange(len(sizes)), sizes)
        rows = np.repeat(begin - np.cumsum(sizes) + sizes, sizes) + np.arange(sizes.sum())
        codes = self.codes[rows]
        known = codes >= FIRST
        shape = (len(sizes), self.item.size)
        held = sparse.csr_matrix(
            (np.ones(int(known.sum()), np.float32), (owner[known], codes[known])), shape=shape
        )
        held.sum_duplicates()
        held.data[:] = 1
        norms = np.sqrt(np.asarray(held.sum(0)).ravel())
        scaled = sparse.csc_matrix(held @ sparse.diags(1 / np.maximum(norms, 1)))
        self.likeness = _neighbours(scaled)[:, FIRST:].tocsr()
        self._learn_repetition(task)
        return self

    def _mix(self, codes: np.ndarray, at: np.ndarray) -> tuple[np.ndarray, sparse.csr_matrix]:
        history = _before(codes, at, self.likeness.shape[0], FADING ** np.arange(codes.shape[1]))
        return _with_rest(sparse.csr_matrix(history @ self.likeness))


class Ease(Popularity):
    """Tell the items that a linear model finds from all items before, without their order: EASE (Steck 2019).

    B = I - P diag(1 / diag(P)) with P = (X^T X + penalty I)^-1, where X tells which users have which items in training:
    the least squares of X - X B with a diagonal of 0. Among items of no positive score, the most frequent ones come
    first.
    """

    title, about = "EASE", "a linear model of the items before, in closed form, penalty by validation"

    def fit(self, task: Task) -> Ease:
        """Find the weights for each penalty, and keep those that are best on the validation split."""
        super().fit(task)
        trained = self.log.trained
        codes, users = self.codes[trained] - FIRST, self.log.users[trained]
        known, items = codes >= 0, len(self.shares)
        held = sparse.csr_matrix(
            (np.ones(int(known.sum())), (users[known], codes[known])), (self.log.users[-1] + 1, items)
        )
        held.sum_duplicates()
        held.data[:] = 1
        gram = (held.T @ held).toarray()
        found = []
        for penalty in PENALTIES:
            inverse = np.linalg.inv(gram + penalty * np.eye(items))
            self.weights = (-inverse / np.diag(inverse)).astype(np.float32)
            np.fill_diagonal(self.weights, 0)
            score = task.metric.info.sign * score_reference(self, task, "valid", items=VALID_SAMPLES)
            found.append((-np.inf if np.isnan(score) else score, penalty, self.weights))
        _, self.penalty, self.weights = max(found, key=lambda one: one[:2])
        self.parameters = self.weights.size
        self._learn_repetition(task)
        return self

    def _mix(self, codes: np.ndarray, at: np.ndarray) -> tuple[np.ndarray, sparse.csr_matrix]:
        history = _before(codes, at, len(self.shares) + FIRST, np.ones(codes.shape[1]))[:, FIRST:]
        history.data[:] = 1
        scores = sparse.csr_matrix(np.maximum(history @ self.weights, 0))
        return _with_rest(scores)


def _before(codes: np.ndarray, at: np.ndarray, size: int, weights: np.ndarray) -> sparse.csr_matrix:
    """Return the weights of codes ``(B, T)`` up to the places ``at`` ``(B, N)``, by their age: ``(B * N, size)``."""
    age = (at[:, :, None] - np.arange(codes.shape[1])).reshape(at.size, -1)
    row, column = np.nonzero(age >= 0)
    held = np.repeat(codes, at.shape[1], 0)[row, column]
    found = sparse.csr_matrix((weights[age[row, column]], (row, held)), (at.size, size))
    found.sum_duplicates()
    return found


def _with_rest(scores: sparse.csr_matrix) -> tuple[np.ndarray, sparse.csr_matrix]:
    """Return scores ``(rows, items)``, at least 0, as shares, beside a tiny share ``(rows,)`` for all others."""
    total = np.asarray(scores.sum(1)).ravel() + TINY
    return TINY / total, sparse.csr_matrix(sparse.diags(1 / total) @ scores)


def _neighbours(scaled: sparse.csc_matrix) -> sparse.csc_matrix:
    """Return the likeness of columns ``(items, items)``, without that to themselves, of the nearest of each row."""
    parts = []
    size = scaled.shape[1]
    for start in range(0, size, BLOCK):
        block = (scaled[:, start : start + BLOCK].T @ scaled).tocoo()
        others = block.col != block.row + start
        row, column, data = block.row[others], block.col[others], block.data[others]
        order = np.lexsort((column, -data, row))
        firsts = np.searchsorted(row[order], np.arange(block.shape[0]))
        kept = order[np.arange(len(order)) - firsts[row[order]] < NEIGHBOURS]
        parts.append(sparse.csr_matrix((data[kept], (row[kept], column[kept])), shape=block.shape))
    return sparse.vstack(parts, format="csc")
