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
from anyformer.questions import IGNORED, UNKNOWN, Question, Target


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
    shares = given[0].double().softmax(1).numpy()
    assert value("log_loss", question, *given) == pytest.approx(
        sklearn.log_loss(classes, shares, labels=range(count))
    )
    there, scores = np.unique(classes), given[0].double().log_softmax(1).numpy()
    found = value("average_precision", question, *given)
    if len(there) == 1:
        assert math.isnan(found)
    else:
        told_apart = (classes[:, None] == there).astype(int)
        assert found == pytest.approx(sklearn.average_precision_score(told_apart, scores[:, there]))
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
        torch.from_numpy(values),
        *(torch.from_numpy(one).expand(size, columns) for one in (shift, scale, 2 * scale)),
    )
    question = Question(kind="number", place="ahead", scaled=True)
    true, told = (one.astype(np.float64) * scale + shift for one in (values, outputs))
    for name, expected in {
        "mae": sklearn.mean_absolute_error(true, told),
        "mse": sklearn.mean_squared_error(true, told),
        "rmse": sklearn.mean_squared_error(true, told) ** 0.5,
        "smape": (200 * np.abs(true - told) / (np.abs(true) + np.abs(told))).mean(),
        "mase": np.abs(values.astype(float) - outputs).mean() / 2,
    }.items():
        assert value(name, question, torch.from_numpy(outputs), target) == pytest.approx(expected, rel=1e-6)


@settings(derandomize=True, max_examples=20, deadline=None)
@given(
    st.integers(1, 30),
    st.integers(1, 3),
    st.lists(st.floats(0.01, 0.99), min_size=1, max_size=4, unique=True),
)
def test_of_quantiles(size: int, columns: int, levels: list[float]) -> None:
    levels = sorted(levels)
    draw = np.random.default_rng(size)
    values, outputs = draw.normal(size=(size, 2, columns)), draw.normal(size=(size, 2, columns, len(levels)))
    values[draw.random(values.shape) < 0.1] = math.nan
    shift, scale = draw.normal(size=columns), draw.random(columns) + 0.1
    target = Target(
        torch.from_numpy(values),
        *(torch.from_numpy(o).expand(size, 1, -1) for o in (shift, scale, 3 * scale)),
    )
    question = Question(kind="quantiles", place="ahead", levels=tuple(levels), scaled=True)
    given = torch.from_numpy(outputs).flatten(1), target
    told, known = np.sort(outputs, -1), ~np.isnan(values)
    losses = [
        [sklearn.mean_pinball_loss(values[known], told[..., i][known], alpha=p, sample_weight=w[known]) for i, p in
         enumerate(levels)] if known.any() else math.nan
        for w in (np.broadcast_to(scale, values.shape), np.ones(values.shape))
    ]  # fmt: skip
    weight = np.broadcast_to(scale, values.shape)[known].mean() if known.any() else math.nan
    assert value("quantile_loss", question, *given) == pytest.approx(np.mean(losses[0]) * weight, nan_ok=True)
    assert value("scaled_quantile_loss", question, *given) == pytest.approx(
        np.mean(losses[1]) / 3, nan_ok=True
    )
    if len(levels) > 1:
        inside = (told[..., 0] <= values) & (values <= told[..., -1])
        expected = inside[known].mean() if known.any() else math.nan
        assert value("coverage", question, *given) == pytest.approx(expected, nan_ok=True)
        assert create_metric("coverage", question).info.best == pytest.approx(levels[-1] - levels[0])
    with pytest.raises(ValueError, match="measures the median, which is none of the quantiles"):
        create_metric("mae", Question(kind="quantiles", place="ahead", levels=(0.1, 0.9)))


def test_numbers_are_measured_of_the_median() -> None:
    question = Question(kind="quantiles", place="ahead", levels=(0.1, 0.5, 0.9), scaled=True)
    target = Target(torch.tensor([[[1.0], [2.0]]]), difference=torch.tensor([[[2.0]]]).double())
    outputs = torch.tensor([[9.0, 2.0, 0.0, 2.0, 2.0, 2.0]])
    assert value("mae", question, outputs, target) == 0.5
    assert value("mase", question, outputs, target) == 0.25
    assert value("mse", question, outputs, target) == 0.5


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
    assert math.isnan(value("average_precision", question, outputs, Target(torch.tensor([1, 0]))))


def test_a_percentage_of_nothing_is_none() -> None:
    question = Question(kind="number", place="whole")
    found = value("smape", question, torch.tensor([[0.0], [0.0]]), Target(torch.tensor([[0.0], [1.0]])))
    assert found == 100


class TestRanks:
    @settings(derandomize=True, max_examples=40, deadline=None)
    @given(st.integers(11, 40), st.integers(1, 30), st.integers(0, 2**20), st.booleans())
    def test_of_one_right_class(self, count: int, size: int, seed: int, ties: bool) -> None:
        draw = np.random.default_rng(seed)
        classes = draw.integers(0, count, size)
        scores = draw.integers(0, 9, (size, count)) if ties else draw.normal(size=(size, count))
        question = Question(kind="class", place="whole", num_classes=count)
        given = torch.from_numpy(scores).float(), Target(torch.from_numpy(classes))
        right = np.eye(count)[classes]
        assert value("ndcg_at_10", question, *given) == pytest.approx(sklearn.ndcg_score(right, scores, k=10))
        if not ties:  # scikit-learn's break ties for or against the right class
            top = sklearn.top_k_accuracy_score
            for k in (5, 10):
                expected = top(classes, scores, k=k, labels=range(count))
                assert value(f"recall_at_{k}", question, *given) == pytest.approx(expected)
            expected = sklearn.label_ranking_average_precision_score(right, scores)
            assert value("mrr", question, *given) == pytest.approx(expected)

    @settings(derandomize=True, max_examples=20, deadline=None)
    @given(st.sampled_from(["recall_at_5", "recall_at_10", "ndcg_at_10", "mrr"]), st.integers(0, 2**20))
    def test_a_tie_is_worth_the_mean_of_its_orders(self, name: str, seed: int) -> None:
        draw = np.random.default_rng(seed)
        scores = torch.from_numpy(draw.integers(0, 3, (1, 12))).float()
        question = Question(kind="class", place="whole", num_classes=12)
        right = torch.from_numpy(draw.integers(0, 12, 1))
        broken = scores + torch.from_numpy(draw.random((4000, 12))).float() / 2
        expected = value(name, question, broken, Target(right.expand(4000)))
        assert value(name, question, scores, Target(right)) == pytest.approx(expected, abs=0.03)

    def test_by_hand(self) -> None:
        question = Question(kind="class", place="each", num_classes=20)
        scores = -torch.arange(20.0).expand(1, 4, 20)
        target = Target(torch.tensor([[0, 9, IGNORED, UNKNOWN]]))  # the unknown one counts as a miss
        found = {name: value(name, question, scores, target) for name in ("recall_at_5", "ndcg_at_10", "mrr")}
        assert found["recall_at_5"] == pytest.approx(1 / 3)
        assert found["ndcg_at_10"] == pytest.approx((1 + 1 / math.log2(11)) / 3)
        assert found["mrr"] == pytest.approx((1 + 0.1) / 3)
        assert value("accuracy", question, scores, target) == pytest.approx(1 / 3)

    @pytest.mark.parametrize("place", [0, 1])
    def test_a_score_that_is_no_number_has_no_rank(self, place: int) -> None:
        scores = torch.zeros(1, 20)
        scores[0, place] = math.nan
        question = Question(kind="class", place="whole", num_classes=20)
        assert math.isnan(value("mrr", question, scores, Target(torch.tensor([0]))))


def test_labels_are_scored_as_by_scikit_learn() -> None:
    question = Question(kind="labels", place="whole", num_classes=5)
    draw = torch.Generator().manual_seed(0)
    there = (torch.rand(60, 5, generator=draw) < 0.3).float()
    outputs = there + torch.randn(60, 5, generator=draw)
    truth, told = there.numpy(), (outputs > 0).numpy()
    for name, expected in (
        ("micro_f1", sklearn.f1_score(truth, told, average="micro")),
        ("macro_f1", sklearn.f1_score(truth, told, average="macro")),
        ("mean_average_precision", sklearn.average_precision_score(truth, outputs.numpy(), average="macro")),
    ):
        assert value(name, question, outputs, Target(there)) == pytest.approx(expected, abs=1e-9)
    nothing = Target(torch.zeros(60, 5))
    assert math.isnan(value("mean_average_precision", question, outputs, nothing))
    assert math.isnan(value("macro_f1", question, -outputs.abs(), nothing))
