"""Metrics against scikit-learn's, and by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sklearn

from anyformer.metrics import create_metric
from anyformer.questions import IGNORED, Question, Target


def value(name: str, question: Question, outputs: torch.Tensor, target: Target) -> float:
    metric = create_metric(name, question)
    return metric.value(metric.measure(outputs, target))


@settings(derandomize=True, max_examples=40, deadline=None)
@given(st.integers(2, 5), st.integers(1, 60), st.integers(0, 2**20), st.booleans())
def test_of_classes(count: int, size: int, seed: int, ties: bool) -> None:
    draw = np.random.default_rng(seed)
    classes = draw.integers(0, count, size)
    outputs = draw.integers(0, 4, (size, count)) if ties else draw.normal(size=(size, count))
    question = Question(kind="class", place="whole", num_classes=count)
    given = torch.from_numpy(outputs).float(), Target(torch.from_numpy(classes))
    told = given[0].argmax(1).numpy()
    assert value("accuracy", question, *given) == pytest.approx(sklearn.accuracy_score(classes, told))
    assert value("f1", question, *given) == pytest.approx(sklearn.f1_score(classes, told, average="macro"))
    recalls = [(told[classes == one] == one).mean() for one in np.unique(classes)]
    assert value("balanced_accuracy", question, *given) == pytest.approx(np.mean(recalls))
    if count == 2:
        found = value("auc", question, *given)
        if len(np.unique(classes)) == 1:
            assert math.isnan(found)
        else:
            scores = (given[0][:, 1] - given[0][:, 0]).numpy()
            assert found == pytest.approx(sklearn.roc_auc_score(classes, scores))


@settings(derandomize=True, max_examples=20, deadline=None)
@given(st.integers(1, 30), st.integers(1, 3), st.integers(0, 2**20))
def test_of_numbers(size: int, columns: int, seed: int) -> None:
    draw = np.random.default_rng(seed)
    values, outputs = draw.normal(size=(2, size, columns)).astype(np.float32)
    shift, scale = draw.normal(size=columns), draw.random(columns) + 0.1
    target = Target(
        torch.from_numpy(values), *(torch.from_numpy(one).expand(size, columns) for one in (shift, scale))
    )
    question = Question(kind="number", place="ahead", scales=tuple(2.0 * scale))
    true, told = (one.astype(np.float64) * scale + shift for one in (values, outputs))
    for name, expected in {
        "mae": sklearn.mean_absolute_error(true, told),
        "mse": sklearn.mean_squared_error(true, told),
        "rmse": sklearn.mean_squared_error(true, told) ** 0.5,
        "mase": np.abs(values.astype(float) - outputs).mean() / 2,
    }.items():
        assert value(name, question, torch.from_numpy(outputs), target) == pytest.approx(expected, rel=1e-6)


def test_tokens_that_are_not_asked_for_do_not_count() -> None:
    classes = torch.tensor([[0, IGNORED, 2], [IGNORED, IGNORED, IGNORED]])
    outputs = torch.nn.functional.one_hot(torch.tensor([[0, 1, 1], [0, 0, 0]]), 3).float()
    question = Question(kind="class", place="each", num_classes=3)
    items = create_metric("accuracy", question).measure(outputs, Target(classes))
    assert items.tolist() == [[1, 2], [0, 0]]


def test_even_odds_take_as_many_bits_as_a_byte_has() -> None:
    question = Question(kind="class", place="each", num_classes=256, field="byte")
    target = Target(torch.randint(256, (2, 5)))
    assert value("bits_per_byte", question, torch.zeros(2, 5, 256), target) == pytest.approx(8)


def test_units() -> None:
    price = Question(kind="number", place="whole", field="price")
    assert [create_metric(name, price).info.unit for name in ("mae", "rmse", "mse")] == [
        "price",
        "price",
        "price²",
    ]
    several = Question(kind="number", place="whole")
    assert [create_metric(name, several).info.unit for name in ("mae", "rmse", "mse")] == [""] * 3


def test_a_score_that_is_no_number_gives_none() -> None:
    question = Question(kind="class", place="whole", num_classes=2)
    outputs = torch.tensor([[0.0, 1.0], [math.nan, 0.0]])
    assert math.isnan(value("auc", question, outputs, Target(torch.tensor([1, 0]))))
