"""Scores of samples as pieces of evidence."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anyformer.compare.run.items import load_items, sample_of, save_items
from anyformer.metrics import create_metric
from anyformer.questions import Question
from anyformer.tasks import Evaluation, create_task

METRIC = create_metric("accuracy", Question(kind="class", place="whole", num_classes=2))


def evaluation(rng: np.random.Generator, clusters: np.ndarray) -> Evaluation:
    right = rng.integers(0, 2, len(clusters)).astype(float)
    return Evaluation(METRIC, np.stack([right, np.ones(len(clusters))], 1), clusters)


@settings(derandomize=True, max_examples=50, deadline=None)
@given(st.integers(1, 60), st.integers(1, 20), st.integers(1, 30), st.integers(0, 9))
def test_pieces_make_up_the_score_and_no_cluster_is_split(
    size: int, kinds: int, most: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    found = evaluation(rng, rng.integers(0, kinds, size))
    sample = sample_of(found, most)
    assert sum(sample.sums) / sum(sample.weights) == pytest.approx(sample.score) == found.value
    count = len(np.unique(found.clusters))
    assert len(sample.sums) == min(count, most) and sum(sample.weights) == size
    if count <= most:
        assert sorted(sample.weights) == sorted(np.unique(found.clusters, return_counts=True)[1])


def test_all_models_have_the_same_pieces() -> None:
    clusters = np.arange(50)
    one, other = (sample_of(evaluation(np.random.default_rng(seed), clusters), 7) for seed in range(2))
    assert one.weights == other.weights and one.sums != other.sums


def test_samples_that_stand_for_the_split_are_read_back(tmp_path: Path) -> None:
    task = create_task("recall", num_pairs=2, length=12, vocab_size=8)
    size = task.size("test")
    items = np.stack([np.arange(size, dtype=float), np.ones(size)], 1)
    save_items(tmp_path / "items.npz", {12: Evaluation(task.metric, items, task.clusters("test"))})
    found = load_items(tmp_path / "items.npz", task, 10)
    assert found.items[:, 0].tolist() == list(task.subset("test", 10)) and len(found.clusters) == 10
