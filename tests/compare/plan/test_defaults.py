"""Sizes that nobody gave suit the time and the data."""

from __future__ import annotations

import pytest
from fakes import request

from anyformer.compare.plan.budget import Budget
from anyformer.compare.plan.defaults import (
    PARAMETERS,
    default_batch_size,
    default_parameters,
    run_seconds,
)
from anyformer.compare.plan.make import make_plan
from anyformer.compare.plan.names import named_models
from anyformer.tasks import create_task


def test_sizes_grow_with_the_time_and_end_with_the_data():
    times = [run_seconds(Budget.parse(text), 2, 9) for text in ("30s", "5m", "2h", "48h")]
    sizes = [default_parameters(seconds, None) for seconds in times]
    assert sizes == [30_000, 100_000, 500_000, 2_000_000]
    assert [default_parameters(seconds, 36_000) for seconds in times] == [30_000] * 4
    assert default_parameters(1.0, 50) == PARAMETERS[0]
    assert default_parameters(times[1], None, accelerated=True) > 10 * sizes[1]
    assert default_parameters(None, None) == 200_000
    assert run_seconds(Budget.parse("100 steps"), 2, 9) is None


@pytest.mark.parametrize(
    "length, tokens, size",
    [
        (64, None, 32),
        (256, None, 16),
        (100_000, None, 4),
        (256, 1e5, 4),
        (36, 1e5, 32),
        (256, 1e6, 4),
        (256, 2e6, 8),
        (256, 1e8, 16),
    ],
)
def test_short_runs_have_smaller_batches(length, tokens, size):
    assert default_batch_size(length, tokens) == size


def test_a_plan_takes_them():
    task = create_task("bytes", length=256, max_bytes=200_000)
    models = named_models("transformer, retnet, mamba")
    short, long = (
        make_plan(request(budget=budget, workers=2), [(task, "bytes", None, {})], models).tasks[0]
        for budget in ("5m", "10h")
    )
    assert short.wanted == pytest.approx(100_000, rel=0.1) and short.batch_size == 4
    assert long.wanted == pytest.approx(task.train_elements, rel=0.4) and long.batch_size == 4
    endless = make_plan(request(budget="10h", workers=2), [(create_task("recall"), None, None, {})], models)
    assert endless.tasks[0].wanted > 500_000


def test_windows_that_overlap_count_their_values_once(tmp_path):
    rows = "".join(f"{n % 24},{n % 7}\n" for n in range(1000))
    (tmp_path / "series.csv").write_text("x,y\n" + rows)
    one, both = (
        create_task(tmp_path / "series.csv", target=target, horizon=12, kind="forecast")
        for target in ("x", ["x", "y"])
    )
    assert one.train_elements == one.describe()["steps"]["train"]
    assert both.train_elements == 2 * one.train_elements
    assert one.train_elements < one.size("train") * one.sample_length / 10
