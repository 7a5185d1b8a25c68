"""Predictors of the next item without a sequence model."""

from __future__ import annotations

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from anyformer.tasks.base import Batch, Reference, Task
from anyformer.tasks.categories import FIRST, Category
from anyformer.tasks.eventlog import EventLog

NEIGHBOURS = 100
"""Number of items that each item goes with."""
BLOCK = 1024
"""Items whose neighbours are found at once."""
FADING = 0.8
"""Factor on the weight of an item for each event after it."""
TINY = 1e-6


def item_references(log: EventLog, codes: np.ndarray, item: Category, length: int) -> list[Reference]:
    """Return the predictors on the leaderboard of a task that asks for the next item.

    Args:
        log: the events.
        codes: ``(N,)``, the item of each event.
        item: the items.
        length: the most inputs of a sample.
    """
    kinds = (Popularity, LastItem, FirstOrder, Neighbours)
    return [kind(log, codes, item, length) for kind in kinds]


class Popularity(Reference):
    """Tell the frequencies of items in training, whatever came before.

    Its arguments are those of :func:`item_references`.
    """

    title, about = "popularity", "always the most frequent items"

    def __init__(self, log: EventLog, codes: np.ndarray, item: Category, length: int) -> None:
        super().__init__(self.title, self.about)
        self.log, self.codes, self.item, self.length = log, codes, item, length

    def fit(self, task: Task) -> Popularity:
        """Count the items of the training part."""
        codes = self.codes[self.log.trained]
        counts = 1 + np.bincount(codes[codes >= FIRST] - FIRST, minlength=len(self.item.values))
        self.shares = counts / counts.sum()
        return self

    def predict(self, batch: Batch) -> Tensor:
        """Return log-probabilities ``(B, N, items)`` at the places that are asked."""
        assert not isinstance(batch.inputs, Tensor)
        codes = batch.inputs[self.item.name].cpu().numpy()
        at = (
            np.arange(codes.shape[1])[None].repeat(len(codes), 0)
            if batch.at is None
            else batch.at.cpu().numpy()
        )
        found = self._probabilities(codes, at)
        return torch.from_numpy(np.log(found).astype(np.float32).reshape(*at.shape, len(self.shares)))

    def _probabilities(self, codes: np.ndarray, at: np.ndarray) -> np.ndarray:
        """Return probabilities ``(B * N, items)`` after the places ``at`` ``(B, N)`` of codes ``(B, T)``."""
        return np.broadcast_to(self.shares, (at.size, len(self.shares)))


class LastItem(Popularity):
    """Tell the last item again, then the most frequent ones."""

    title, about = "last item", "the last item again, then the most frequent ones"

    def _probabilities(self, codes: np.ndarray, at: np.ndarray) -> np.ndarray:
        last = np.take_along_axis(codes, at, 1).ravel() - FIRST
        found = np.tile(self.shares / 2, (len(last), 1))
        known = np.flatnonzero(last >= 0)
        found[known, last[known]] += 0.5
        found[last < 0] *= 2
        return found


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
        return self

    def _probabilities(self, codes: np.ndarray, at: np.ndarray) -> np.ndarray:
        counts = self.counts[np.take_along_axis(codes, at, 1).ravel()]
        different = np.diff(counts.indptr)[:, None]
        total = np.asarray(counts.sum(1)) + different
        mixed = (counts.toarray() + different * self.shares) / np.maximum(total, 1)
        found: np.ndarray = np.where(total > 0, mixed, self.shares)
        return found


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
        return self

    def _probabilities(self, codes: np.ndarray, at: np.ndarray) -> np.ndarray:
        age = at[:, :, None] - np.arange(codes.shape[1])
        weights = np.where(age >= 0, FADING ** np.maximum(age, 0), 0).astype(np.float32)
        rows, columns = np.nonzero(weights.reshape(at.size, -1))
        held = np.repeat(codes, at.shape[1], 0)[rows, columns]
        values = weights.reshape(at.size, -1)[rows, columns]
        history = sparse.csr_matrix((values, (rows, held)), shape=(at.size, self.likeness.shape[0]))
        scores = np.asarray((history @ self.likeness).toarray(), np.float64) + TINY * self.shares
        return scores / scores.sum(1, keepdims=True)


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
