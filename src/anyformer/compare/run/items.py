"""Scores of samples as pieces of evidence: what results keep, and what the judge counts."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from anyformer.compare.results import Sample
from anyformer.files import whole_file
from anyformer.tasks import Evaluation, Task

MOST = 200
"""So many pieces are kept at most: more tell nothing more of a variance, and would swell the results."""

ITEMS = "items.npz"
"""The file in a unit's folder with the scores of single samples."""


def sample_of(found: Evaluation, most: int = MOST) -> Sample:
    """A score with the sums and weights of its clusters, each an independent piece of evidence.

    Where there are more than ``most`` clusters, they are dealt out at random into as many pieces: random ones, so
    that their variance stays that of independent clusters, whatever lies next to what in the data. The deal depends
    on the number of clusters alone, so that it is the same for all who are scored on the same samples. Clusters in
    which nothing counts are left out. How pieces add up to the score is the metric's to say, see
    :meth:`anyformer.metrics.Metric.pieces`.
    """
    names, codes = np.unique(found.clusters, return_inverse=True)
    count = len(names)
    if count > most:
        dealt = np.empty(count, np.int64)
        dealt[np.random.default_rng([53, count]).permutation(count)] = np.arange(count) * most // count
        codes, count = dealt[codes], most
    sums, weights = found.metric.pieces(found.items, codes, count)
    return Sample(score=found.value, sums=sums.tolist(), weights=weights.tolist())


def save_items(path: Path, found: Mapping[int, Evaluation]) -> None:
    """Writes the statistics of every test sample, by length, in one step."""
    arrays = {f"items_{length}": one.items for length, one in found.items()}
    with whole_file(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **arrays)


def load_items(path: Path, task: Task, items: int, *, length: int | None = None) -> Evaluation:
    """What the samples that stand for the test split scored, out of the scores of all of them."""
    index = task.subset("test", items, length=length)
    place = length or task.train_length
    with np.load(path, allow_pickle=False) as stored:
        if f"items_{place}" in stored:
            found = stored[f"items_{place}"]
        else:  # of earlier versions, in which every metric was a ratio
            found = np.stack([stored[f"{kind}_{place}"] for kind in ("sums", "weights")], 1)
    return Evaluation(task.metric, found[index], task.clusters("test", length=length)[index])
