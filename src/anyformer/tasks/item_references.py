"""Predictors of the next item without a sequence model."""

from __future__ import annotations

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from anyformer.tasks.base import Reference, Task
from anyformer.tasks.batch import Batch
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

    Its arguments are those of :func:`item_references`. Subclasses mix the frequencies p with what they know:
    P(j | events) = w p_j + q_j, with a share w and few q_j above 0.
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
        """Return log-probabilities ``(B, N, items)`` float32 at the places that are asked."""
        assert not isinstance(batch.inputs, Tensor)
        codes = batch.inputs[self.item.name].cpu().numpy()
        at = (
            np.arange(codes.shape[1])[None].repeat(len(codes), 0)
            if batch.at is None
            else batch.at.cpu().numpy()
        )
        share, known = self._mix(codes, at)
        logs = np.log(self.shares).astype(np.float32) + np.log(share).astype(np.float32)[:, None]
        row = np.repeat(np.arange(at.size), np.diff(known.indptr))
        logs[row, known.indices] = np.log(share[row] * self.shares[known.indices] + known.data)
        return torch.from_numpy(logs.reshape(*at.shape, -1))

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
        return self

    def _mix(self, codes: np.ndarray, at: np.ndarray) -> tuple[np.ndarray, sparse.csr_matrix]:
        age = (at[:, :, None] - np.arange(codes.shape[1])).reshape(at.size, -1)
        row, column = np.nonzero(age >= 0)
        held = np.repeat(codes, at.shape[1], 0)[row, column]
        shape = (at.size, self.likeness.shape[0])
        history = sparse.csr_matrix((FADING ** age[row, column], (row, held)), shape)
        scores = sparse.csr_matrix(history @ self.likeness)
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
