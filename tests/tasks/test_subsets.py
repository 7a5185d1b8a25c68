"""A part of a split must stand for all of it, in whatever order the data came."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from anyformer.tasks import Task, create_task, evaluate, open_data, score_reference
from anyformer.tasks.batch import Batch
from anyformer.tasks.labelled import LabelledTask
from anyformer.tasks.subsets import neighbours, spread_order, stratified_order


@settings(derandomize=True, max_examples=60, deadline=None)
@given(st.integers(1, 300), st.integers(0, 9))
def test_a_beginning_is_spread_evenly(size: int, seed: int) -> None:
    order = spread_order(size, np.random.default_rng(seed))
    assert sorted(order.tolist()) == list(range(size))
    for k in range(size.bit_length()):
        if 2**k <= size:
            cells = order[: 2**k] * 2**k // size
            assert sorted(cells.tolist()) == list(range(2**k)), "one in each stretch"


def test_places_within_a_stretch_are_random() -> None:
    """A part taken at steps would meet a season of 24 at one phase only, where the step is a multiple of it."""
    order = spread_order(24 * 64, np.random.default_rng(0))
    assert len(np.unique(order[:64] % 24)) > 15
    means = [spread_order(1000, np.random.default_rng(seed))[:8].mean() for seed in range(400)]
    assert np.mean(means) == pytest.approx(499.5, abs=8), "each number is as likely as any other"


@settings(derandomize=True, max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 60), min_size=1, max_size=6), st.integers(0, 9))
def test_strata_keep_their_shares(sizes: list[int], seed: int) -> None:
    strata = np.repeat(np.arange(len(sizes)), sizes)
    order = stratified_order(strata, np.random.default_rng(seed))
    assert sorted(order.tolist()) == list(range(len(strata)))
    for count in range(1, len(strata) + 1):
        found = np.bincount(strata[order[:count]], minlength=len(sizes))
        assert np.abs(found - count * np.array(sizes) / len(strata)).max() <= len(sizes) + 1


def test_neighbours_are_long_enough() -> None:
    blocks = neighbours(np.arange(100) + 7, shortest=12, most=32)
    assert blocks.tolist() == sorted(blocks) and np.bincount(blocks).min() >= 12 and blocks.max() == 7
    assert neighbours(np.arange(100), shortest=1, most=5).max() == 4
    assert neighbours(np.arange(10), shortest=11, most=5).max() == 0


TASKS = ["recall", "listops", "digits", "bytes", "series"]


@pytest.fixture(scope="module")
def series(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two series of 3,000 hours with a season of 24, whose level drifts."""
    rng = np.random.default_rng(0)
    hours = np.arange(3000)
    frames = []
    for shop in range(2):
        y = 10 + np.sin(hours * np.pi / 12) + hours / 1000 + 0.1 * rng.normal(size=len(hours))
        dates = pd.date_range("2020-01-01", periods=len(hours), freq="h")
        frames.append(pd.DataFrame({"date": dates, "shop": f"s{shop}", "y": y}))
    path = tmp_path_factory.mktemp("series") / "shops.csv"
    pd.concat(frames).to_csv(path, index=False)
    return path


def opened(name: str, series: Path) -> Task:
    if name == "series":
        return open_data(series, target="y", group="shop")
    return create_task(name, **({"max_bytes": 300_000} if name == "bytes" else {}))


@pytest.mark.parametrize("name", TASKS)
def test_subsets_are_fixed_nested_and_whole_in_the_end(name: str, series: Path) -> None:
    task, again = opened(name, series), opened(name, series)
    for length in (None, *task.lengths[:1]):
        size = task.size("test", length)
        small, large = (task.subset("test", n, length=length) for n in (10, 40))
        assert len(small) == 10 and set(small) <= set(large) and (np.diff(large) > 0).all()
        assert small.tolist() == again.subset("test", 10, length=length).tolist()
        for count in (None, size, size + 5):
            assert task.subset("test", count, length=length).tolist() == list(range(size))
        assert len(task.clusters("test", length=length)) == size
    with pytest.raises(ValueError, match="count must be an integer at least 1, got 0"):
        task.subset("test", 0)
    with pytest.raises(ValueError, match="split must be one of"):
        task.subset("tset", 4)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", TASKS)
def test_scores_of_items_are_those_of_the_batch(name: str, series: Path) -> None:
    """Whatever the batches, and whichever part: an item's score is its own."""
    task = opened(name, series)
    reference = task.references()[0].fit(task)
    whole = evaluate(reference.predict, task, "test", batch_size=64)
    batch = next(task.eval_batches("test", 5))
    items = task.metric.measure(reference.predict(batch), batch.target)
    assert items.shape == (5, 2) and items.dtype == np.float64
    np.testing.assert_allclose(items, whole.items[:5], rtol=1e-6)
    part = evaluate(reference.predict, task, "test", batch_size=3, items=20)
    np.testing.assert_allclose(part.items, whole.items[task.subset("test", 20)], rtol=1e-6)
    assert score_reference(reference, task) == pytest.approx(whole.value)


def test_a_file_sorted_by_class_is_scored_truly() -> None:
    """Whole batches from its beginning would show one class alone."""
    y = np.sort(np.random.default_rng(0).random(20_000) < 0.39).astype(np.int64)
    x = np.random.default_rng(1).normal(size=(len(y), 3, 1))
    task = LabelledTask(x, y, name="sorted", classes=["a", "b"])
    majority = task.references()[0].fit(task)
    part, whole = (evaluate(majority.predict, task, "test", batch_size=256, items=n) for n in (256, None))
    assert len(part) == 256 and len(whole) == task.size("test")
    assert part.value == pytest.approx(whole.value, abs=0.005)


def test_a_regression_file_sorted_by_target_is_scored_truly() -> None:
    y = np.sort(np.random.default_rng(0).gamma(1.0, size=5000))
    x = np.random.default_rng(1).normal(size=(len(y), 3, 1))
    task = LabelledTask(x, y[:, None], name="sorted", values=["y"])
    median = task.references()[0].fit(task)
    part, whole = (score_reference(median, task, items=n) for n in (100, None))
    assert part == pytest.approx(whole, rel=0.1)


def test_a_part_orders_references_as_the_whole_does(tmp_path: Path) -> None:
    """The first weeks of the test are calm, where the last value serves; in the rest the season rules."""
    rng = np.random.default_rng(0)
    hours = np.arange(4000)
    swing = np.where((hours > 3200) & (hours < 3450), 0.0, 3.0)
    y = swing * np.sin(hours * np.pi / 12) + np.cumsum(0.1 * rng.normal(size=len(hours)))
    dates = pd.date_range("2020-01-01", periods=len(hours), freq="h")
    path = tmp_path / "load.csv"
    pd.DataFrame({"date": dates, "y": y}).to_csv(path, index=False)
    task = open_data(path, target="y", context=48, horizon=12)
    by_name = {reference.name: reference.fit(task) for reference in task.references()}
    last, seasonal = by_name["last value"], by_name["seasonal naive"]

    def mean(batches: list[Batch], name: str) -> float:
        parts = [task.metric.measure(by_name[name].predict(batch), batch.target) for batch in batches]
        return task.metric.value(np.concatenate(parts))

    first = [next(task.eval_batches("test", 64))]
    assert mean(first, "last value") < mean(first, "seasonal naive"), "what comes first misleads"
    for items in (64, None):
        scores = [score_reference(r, task, items=items) for r in (last, seasonal)]
        assert scores[0] > scores[1]


def test_windows_that_overlap_belong_together(series: Path) -> None:
    task = open_data(series, target="y", group="shop", context=24, horizon=12)
    clusters = task.clusters("test")
    starts, owners = task._starts["test"], task._owner[task._starts["test"]]  # type: ignore[attr-defined]
    assert 16 <= len(np.unique(clusters)) <= 64
    for cluster in np.unique(clusters):
        mine = clusters == cluster
        assert len(np.unique(owners[mine])) == 1, "of one series"
        others = starts[(owners == owners[mine][0]) & ~mine]
        assert not ((others > starts[mine].min()) & (others < starts[mine].max())).any(), "contiguous"
    for owner in np.unique(owners):
        mine = owners == owner
        lengths = np.ptp(starts[mine]) / len(np.unique(clusters[mine]))
        assert lengths >= 36, "no shorter than a window"


def test_a_short_series_is_one_piece_of_evidence(tmp_path: Path) -> None:
    path = tmp_path / "short.csv"
    pd.DataFrame({"y": np.arange(100) % 7}).to_csv(path, index=False)
    task = open_data(path, target="y", kind="forecast", context=12, horizon=4)
    assert task.size("test") > 1 and len(np.unique(task.clusters("test"))) == 1


def test_equal_rows_belong_together() -> None:
    x = np.repeat(np.arange(60), 3).reshape(-1, 1, 1)
    y = np.repeat(np.arange(60) % 2, 3)
    task = LabelledTask(x, y, name="copies", classes=["a", "b"])
    clusters = task.clusters("test")
    assert np.bincount(clusters).tolist() == [3] * len(np.unique(clusters))


def test_unknown_targets_do_not_count(series: Path) -> None:
    task = open_data(series, target="y", group="shop")
    batch = next(task.eval_batches("test", 3))
    targets = batch.targets.clone()
    targets[1] = torch.nan
    holed = replace(batch, targets=targets)
    outputs = torch.zeros(3, task.objective.num_outputs)
    sums, weights = task.metric.measure(outputs, holed.target).T
    assert weights[1] == 0 and sums[1] == 0 and sums[0] > 0
    assert np.isnan(task.metric.measure(outputs * torch.nan, holed.target)[0, 0]), "a model's NaN stays one"
