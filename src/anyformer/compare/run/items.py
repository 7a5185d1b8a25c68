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
    which nothing counts are left out.
    """
    names, codes = np.unique(found.clusters, return_inverse=True)
    count = len(names)
    if count > most:
        dealt = np.empty(count, np.int64)
        dealt[np.random.default_rng([53, count]).permutation(count)] = np.arange(count) * most // count
        codes, count = dealt[codes], most
    sums = np.bincount(codes, found.sums, count)
    weights = np.bincount(codes, found.weights, count)
    kept = weights > 0
    return Sample(score=found.value, sums=sums[kept].tolist(), weights=weights[kept].tolist())


def save_items(path: Path, found: Mapping[int, Evaluation]) -> None:
    """Writes what every test sample scored, by length, in one step."""
    arrays = {f"sums_{length}": one.sums for length, one in found.items()}
    arrays |= {f"weights_{length}": one.weights for length, one in found.items()}
    with whole_file(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **arrays)


def load_items(path: Path, task: Task, items: int, *, length: int | None = None) -> Evaluation:
    """What the samples that stand for the test split scored, out of the scores of all of them."""
    index = task.subset("test", items, length=length)
    with np.load(path, allow_pickle=False) as stored:
        sums, weights = (
            stored[f"{kind}_{length or task.train_length}"][index] for kind in ("sums", "weights")
        )
    return Evaluation(sums, weights, task.clusters("test", length=length)[index])
