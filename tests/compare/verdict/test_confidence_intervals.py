"""How often the 95% interval of a metric that is no mean holds the truth, by simulation."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from anyformer.compare.run.items import sample_of
from anyformer.compare.verdict.confidence_intervals import ScoredEntry, difference, estimate
from anyformer.metrics import Metric, create_metric
from anyformer.questions import Question, Target
from anyformer.tasks import Evaluation

DRAWS = 150


def drawn(rng: np.random.Generator, size: int, rare: float, together: int) -> list[np.ndarray]:
    """True classes, the outputs ``(size, 2)`` of two candidates, and the cluster of each sample, which share a class.

    The candidates are equally good, and mostly hard samples are hard for both.
    """
    cluster = np.arange(size) // together
    classes = (rng.random(size) < rare)[cluster * together].astype(np.int64)
    hard = rng.normal(size=(size, 2))
    if together > 1:
        hard = (hard + rng.normal(size=(size, 2))[cluster * together]) / 2**0.5
    found = [hard * 0.8 + rng.normal(size=(size, 2)) * 0.6 for _ in range(2)]
    for outputs in found:
        outputs[np.arange(size), classes] += 1.0
    return [classes, *found, cluster]


def rows(metric: Metric, classes: np.ndarray, *outputs: np.ndarray, cluster: np.ndarray) -> list[ScoredEntry]:
    """One row a candidate, as a reference: without seeds, so that only samples vary."""
    target = Target(torch.from_numpy(classes))
    items = [metric.measure(torch.from_numpy(one), target) for one in outputs]
    return [
        ScoredEntry(str(i), (sample_of(Evaluation(metric, one, cluster)),), True)
        for i, one in enumerate(items)
    ]


@pytest.mark.parametrize("name", ["f1", "auc"])
@pytest.mark.parametrize("size, rare, together", [(60, 0.5, 1), (60, 0.1, 1), (300, 0.2, 1), (300, 0.4, 3)])
def test_intervals_hold_the_truth(name: str, size: int, rare: float, together: int) -> None:
    metric = create_metric(name, Question(kind="class", place="whole", num_classes=2))
    rng = np.random.default_rng([size, int(10 * rare)])
    classes, one, _, _ = drawn(rng, 400_000, rare, 1)
    truth = metric.value(metric.measure(torch.from_numpy(one), Target(torch.from_numpy(classes))))
    held, told = 0, 0
    for _ in range(DRAWS):
        classes, one, other, cluster = drawn(rng, size, rare, together)
        first, second = rows(metric, classes, one, other, cluster=cluster)
        low, high = estimate(first, metric.info.limits).interval()
        held += low <= truth <= high
        gap_low, gap_high = difference(first, second, metric.info.limits).interval()
        told += not gap_low <= 0 <= gap_high
    assert 0.90 <= held / DRAWS <= 0.99
    assert told / DRAWS <= 0.08, "of two that are equal, neither is better"


def test_pairs_tell_more_than_each_alone() -> None:
    """The interval of a difference is narrower than that of two rows whose samples are not the same."""
    metric = create_metric("auc", Question(kind="class", place="whole", num_classes=2))
    classes, one, other, cluster = drawn(np.random.default_rng(0), 300, 0.3, 1)
    first, second = rows(metric, classes, one, other, cluster=cluster)
    apart = sum(part for row in (first, second) for part, _ in estimate(row, metric.info.limits).parts)
    assert difference(first, second, metric.info.limits).error ** 2 < 0.7 * apart


def test_what_hangs_on_one_cluster_is_not_known() -> None:
    """All of one class belong together: without them there is no AUC, and nothing tells how it would vary."""
    metric = create_metric("auc", Question(kind="class", place="whole", num_classes=2))
    classes = np.arange(40) < 4
    cluster = np.where(classes, 0, np.arange(40))
    outputs = np.random.default_rng(0).normal(size=(40, 2))
    (row,) = rows(metric, classes.astype(np.int64), outputs, cluster=cluster)
    assert estimate(row, metric.info.limits).interval() == (0, 1)
