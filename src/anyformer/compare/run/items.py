"""Scores of samples as independent pieces of evidence, which results keep and the judge counts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from anyformer.compare.plan.schema import Rounds
from anyformer.compare.results import Sample
from anyformer.files import whole_file
from anyformer.tasks import Evaluation, Task

MOST = 200
"""Largest number of pieces that are kept: more would hardly improve the estimate of a variance."""

FEW = 50
"""The same of a validation score."""

ITEMS = "items.npz"
"""Name of the file in a unit's folder with the scores of single samples."""


def sample_of(found: Evaluation, most: int = MOST) -> Sample:
    """Return a score with the sums and weights of its clusters, each an independent piece of evidence.

    More than ``most`` clusters are merged into ``most`` pieces at random, so that their variance stays that of
    independent clusters even if neighbours in the data are alike. The random assignment depends on the number of
    clusters alone, so that it is the same for all models that are scored on the same samples. The metric defines how
    pieces add up to the score, and leaves out those without weight, see :meth:`anyformer.metrics.Metric.pieces`.
    """
    names, codes = np.unique(found.clusters, return_inverse=True)
    count = len(names)
    if count > most:
        dealt = np.empty(count, np.int64)
        dealt[np.random.default_rng([53, count]).permutation(count)] = np.arange(count) * most // count
        codes, count = dealt[codes], most
    sums, weights = found.metric.pieces(found.items, codes, count)
    return Sample(score=found.value, sums=sums.tolist(), weights=weights.tolist())


def part_of(valid: Evaluation, task: Task, items: int, rounds: Rounds | None) -> Sample | None:
    """Return a score on the validation samples of the search; None if not all of them were evaluated.

    Args:
        valid: of so many ``items`` of the validation split.
        rounds: the search.
    """
    if rounds is None:
        return None
    index, part = (task.subset("valid", count) for count in (items, rounds.valid_items))
    common = np.isin(index, part)
    if common.sum() < len(part):
        return None
    return sample_of(replace(valid, items=valid.items[common], clusters=valid.clusters[common]), FEW)


def save_items(path: Path, found: Mapping[int, Evaluation]) -> None:
    """Write the statistics of every test sample at every length, in one step."""
    arrays = {f"items_{length}": one.items for length, one in found.items()}
    with whole_file(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **arrays)


def load_items(path: Path, task: Task, items: int, *, length: int | None = None) -> Evaluation:
    """Read the statistics of the samples that represent the test split, out of those of all samples."""
    index = task.subset("test", items, length=length)
    at = length or task.train_length
    with np.load(path, allow_pickle=False) as stored:
        if f"items_{at}" in stored:
            found = stored[f"items_{at}"]
        else:  # a file of an earlier version, in which every metric was a ratio
            found = np.stack([stored[f"{kind}_{at}"] for kind in ("sums", "weights")], 1)
    return Evaluation(task.metric, found[index], task.clusters("test", length=length)[index])
