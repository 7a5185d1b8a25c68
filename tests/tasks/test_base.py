"""What every task inherits: batches, lengths, metrics and checks of options."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn.functional import one_hot

from anyformer.compare.plan.names import named_models
from anyformer.tasks import DataError, Task, create_task, evaluate_beside
from anyformer.tasks.base import check_integer, check_known, check_split
from anyformer.tasks.graphs.task import GraphTask
from anyformer.tasks.images import ImageTask
from anyformer.tasks.labelled import LONG, LabelledTask
from anyformer.tasks.next_item import NextItemTask
from anyformer.tasks.pairs import PairTask
from anyformer.tasks.text import ByteTask

TASK = create_task("lookup", length=16)


def test_default_candidates_have_a_reason() -> None:
    """What is compared where nothing is named can be built, and each kind of data says why in a sentence."""
    for kind in (Task, ByteTask, ImageTask, NextItemTask, GraphTask, PairTask):
        assert {"candidates", "why"} <= vars(kind).keys(), kind
        assert len(kind.why) > 40 and not kind.why.endswith("."), kind
        assert list(named_models(kind.candidates)) == list(kind.candidates)


def test_series_with_labels_have_candidates_of_their_own() -> None:
    x = np.random.default_rng(0).normal(size=(40, 9, 1))
    labels = {"y": np.arange(40) % 2, "name": "drawn", "classes": ["no", "yes"]}
    series, record = (
        LabelledTask(x, **labels),
        LabelledTask(np.arange(360).reshape(40, 9), vocab_size=360, **labels),
    )
    assert series.candidates[0] == "rocket" and "shapes" in series.why
    assert record.candidates == Task.candidates and record.why == Task.why
    assert list(named_models(series.candidates)) == list(series.candidates)


def test_long_series_are_compared_on_what_reads_them_fast() -> None:
    x = np.random.default_rng(0).normal(size=(40, LONG, 1))
    labels = {"y": np.arange(40) % 2, "name": "drawn", "classes": ["no", "yes"]}
    long, short = (LabelledTask(part, **labels) for part in (x, x[:, 1:]))
    assert long.candidates == ("rocket", "inceptiontime") and str(LONG) in long.why
    assert {*long.candidates} < {*short.candidates}


def test_batches_are_the_samples_that_were_asked_for_in_order() -> None:
    index = np.array([9, 3, 4, 8, 0])
    batches = list(TASK.eval_batches("test", 2, index=index))
    assert [len(batch) for batch in batches] == [2, 2, 1]
    whole = TASK.eval_batches("test", 10, index=np.arange(10))
    assert torch.equal(torch.cat([batch.x for batch in batches]), next(whole).x[index])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda task: next(task.eval_batches("test", 0)), "batch_size must be positive, got 0"),
        (lambda task: next(task.eval_batches("tests", 1)), "split must be one of .*, got 'tests'"),
        (lambda task: task.subset("test", 0), "count must be an integer at least 1, got 0"),
        (lambda task: task.size("test", task.check_length(999)), "length must be one of 16, .*, got 999"),
        (lambda task: task.rank_by("rmse"), "'rmse'"),
        (lambda task: task.rank_by("accuracy", "log_loss", "accuracy"), "metric names accuracy twice"),
        (lambda task: task.rank_by("accuracy", "rmse"), "'rmse'"),
        (
            lambda task: create_task("lookup", metric=" , "),
            "metric must name a metric, or several, got ' , '",
        ),
        (lambda task: create_task("lookup", metric=[]), "metric must name a metric, or several, got"),
    ],
)
def test_wrong_requests(call: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call(TASK)  # type: ignore[operator]


def test_a_metric_without_a_value_on_a_split_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    task: Task = create_task("lookup", length=16)
    monkeypatch.setattr("anyformer.metrics.accuracy.Accuracy.value", lambda self, items: np.nan)
    with pytest.raises(DataError, match="accuracy has no value on the .* samples of the valid split"):
        task.rank_by("accuracy")


@pytest.mark.parametrize("given", ["log_loss, accuracy,f1", ["log_loss", "accuracy", "f1"]])
def test_the_first_of_several_metrics_ranks_and_the_others_stand_beside(given: str | list[str]) -> None:
    task = create_task("listops", metric=given)
    assert task.metric.id == "log_loss" and [one.id for one in task.beside] == ["accuracy", "f1"]
    found = evaluate_beside(
        lambda batch: one_hot(batch.targets, task.objective.num_outputs).double(),
        lambda batch: None,
        task,
        batch_size=64,
    )
    assert found == {"accuracy": 1.0, "macro F1": 1.0} and task.beside_items == task.size("test")


def test_options_are_checked_by_name_and_range() -> None:
    check_known("it", "seed", [])
    with pytest.raises(ValueError, match=r"it has no option 'lenght'; did you mean length\?"):
        check_known("it", "lenght", ["length", "size"])
    with pytest.raises(ValueError, match="it has no option 'zzz'; it takes length, size"):
        check_known("it", "zzz", ["length", "size"])
    check_integer("n", np.int64(3), low=0, high=3)  # type: ignore[arg-type]
    for wrong in (True, 2.0, -1, 4, "3"):
        with pytest.raises(ValueError, match=r"n must be an integer in 0\.\.3, got "):
            check_integer("n", wrong, low=0, high=3)  # type: ignore[arg-type]
    check_split("valid")
