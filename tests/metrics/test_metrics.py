"""Every metric: what registering enrols it in, the facts it states, and how its pieces add up."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from anyformer.metrics import Metric, MetricInfo, create_metric, list_metrics, metric_info, metrics
from anyformer.questions import IGNORED, Question, Target

QUESTIONS = {
    "two classes": Question(kind="class", place="whole", num_classes=2),
    "four classes": Question(kind="class", place="whole", num_classes=4),
    "tokens": Question(kind="class", place="each", num_classes=5),
    "tags": Question(kind="class", place="each", num_classes=5, names=("B-A", "B-B", "I-A", "I-B", "O")),
    "bytes": Question(kind="class", place="each", num_classes=256, field="byte"),
    "texts": Question(kind="class", place="each", num_classes=128, field="byte", stop=127),
    "numbers": Question(kind="number", place="whole", field="price"),
    "labels": Question(kind="labels", place="whole", num_classes=4),
    "forecast": Question(kind="number", place="ahead", scaled=True),
    "quantiles": Question(kind="quantiles", place="ahead", levels=(0.25, 0.5, 0.75), scaled=True),
}
PAIRS = [(id, name) for id in metrics.ids() for name in QUESTIONS if id in list_metrics(QUESTIONS[name])]
ids = pytest.mark.parametrize("id", metrics.ids())
pairs = pytest.mark.parametrize("id, name", PAIRS)


def answers(question: Question, size: int, seed: int = 0) -> tuple[torch.Tensor, Target]:
    """Outputs for so many samples, better than chance, and what should have been answered."""
    draw = torch.Generator().manual_seed(seed)
    if question.kind == "labels":
        there = (torch.rand(size, question.num_classes, generator=draw) < 0.3).float()
        return 3 * there - 1.5 + torch.randn(there.shape, generator=draw), Target(there)
    if question.kind != "class":
        shape = (size, 3, 2) if question.place == "ahead" else (size, 1)
        values = torch.randn(shape, generator=draw)
        outputs = (values + 0.5 * torch.randn(shape, generator=draw)).flatten(1)
        if question.levels:
            outputs = (outputs[..., None] + torch.tensor([-0.3, 0.0, 0.3])).flatten(1)
        values[torch.rand(shape, generator=draw) < 0.1] = math.nan
        ones = torch.ones(shape).double()
        difference = torch.tensor([2.0, 0.5]).double().expand(shape) if question.scaled else None
        return outputs, Target(values, 5 * ones, 3 * ones, difference)
    shape = (size, 7) if question.place == "each" else (size,)
    classes = torch.randint(question.num_classes, shape, generator=draw)
    outputs = torch.randn(*shape, question.num_classes, generator=draw)
    sure = 2 if question.stop is None else 8
    outputs += sure * torch.nn.functional.one_hot(classes, question.num_classes)
    if question.place == "each" and question.stop is None:
        classes[torch.rand(shape, generator=draw) < 0.2] = IGNORED
    return outputs, Target(classes)


@ids
class TestEveryMetric:
    def test_its_facts_agree(self, id: str) -> None:
        info = metric_info(id)
        low, high = info.limits
        assert low < high and info.name and info.unit == ""
        assert info.best in (None, high if info.higher_is_better else low)
        assert info.sign == (1 if info.higher_is_better else -1)
        assert MetricInfo.model_validate_json(info.model_dump_json()) == info

    def test_it_measures_some_question_and_says_why_not_the_others(self, id: str) -> None:
        refusals = [metrics.get(id).target.refuses(question) for question in QUESTIONS.values()]
        assert None in refusals
        for question, reason in zip(QUESTIONS.values(), refusals):
            if reason:
                with pytest.raises(ValueError, match=re.escape(f"metric: '{id}' {reason}; these measure")):
                    create_metric(id, question)


def measured(metric: Metric, outputs: torch.Tensor, target: Target) -> np.ndarray:
    """The statistics of the likeliest tokens, for metrics of texts that are written, or of all the outputs."""
    return metric.measure(outputs.argmax(-1) if metric.decodes else outputs, target)


@pairs
class TestAnswers:
    def test_statistics_are_of_each_sample_whatever_the_batch(self, id: str, name: str) -> None:
        metric = create_metric(id, QUESTIONS[name])
        outputs, target = answers(QUESTIONS[name], 12)
        whole = measured(metric, outputs, target)
        assert whole.dtype == np.float64 and len(whole) == 12 and whole.ndim == 2
        for part in (slice(0, 5), slice(5, 12)):
            cut = [None if t is None else t[part] for t in vars(target).values()]
            np.testing.assert_allclose(measured(metric, outputs[part], Target(*cut)), whole[part], rtol=1e-6)

    def test_the_value_lies_in_its_limits_and_ignores_the_order(self, id: str, name: str) -> None:
        metric = create_metric(id, QUESTIONS[name])
        items = measured(metric, *answers(QUESTIONS[name], 60))
        value = metric.value(items)
        assert metric.info.limits[0] <= value <= metric.info.limits[1]
        shuffled = metric.value(items[np.random.default_rng(0).permutation(60)])
        assert shuffled == pytest.approx(value, rel=1e-12)

    def test_better_answers_have_a_better_value(self, id: str, name: str) -> None:
        metric, question = create_metric(id, QUESTIONS[name]), QUESTIONS[name]
        if not metric.ranks:
            pytest.skip("ranks nothing")
        outputs, target = answers(question, 200)
        noisy = outputs + 4 * torch.randn(outputs.shape, generator=torch.Generator().manual_seed(1))
        good, bad = (metric.value(measured(metric, o, target)) for o in (outputs, noisy))
        assert metric.info.sign * (good - bad) > 0
        if question.kind == "class":
            right = 60.0 * torch.nn.functional.one_hot(target.values.clamp(min=0), question.num_classes)
        else:
            right = target.values.nan_to_num().flatten(1)
            right = right.repeat_interleave(max(1, len(question.levels)), 1)
        best = metric.value(measured(metric, right, target))
        assert best == pytest.approx(metric.info.best, abs=1e-6)

    def test_the_best_value_can_be_another(self, id: str, name: str) -> None:
        metric = create_metric(id, QUESTIONS[name], best=0.75)
        assert metric.info.best == 0.75 and metric.info.limits == metric_info(id).limits

    @settings(derandomize=True, max_examples=5, deadline=None)
    @given(st.integers(0, 2**20), st.integers(2, 12))
    def test_pieces_are_the_jackknife(self, id: str, name: str, seed: int, groups: int) -> None:
        """Without a piece, the ratio of the others' sums is the value that is there without it."""
        metric = create_metric(id, QUESTIONS[name])
        items = measured(metric, *answers(QUESTIONS[name], 60, seed))
        owner = np.random.default_rng(seed).integers(0, groups, 60)
        owner[:groups] = np.arange(groups)
        sums, weights = metric.pieces(items, owner, groups)
        value, total = metric.value(items), weights.sum()
        for group in range(groups):
            left = (value * total - sums[group]) / (total - weights[group])
            assert left == pytest.approx(metric.value(items[owner != group]), rel=1e-9, abs=1e-12)


class TestNames:
    def test_any_case_and_as_it_is_shown(self) -> None:
        for typed in ("AUC", "auc", " Auc "):
            assert create_metric(typed, QUESTIONS["two classes"]).id == "auc"
        assert create_metric("bits per byte", QUESTIONS["bytes"]).id == "bits_per_byte"
        assert create_metric("balanced-accuracy", QUESTIONS["four classes"]).id == "balanced_accuracy"
        assert create_metric("NDCG@10", QUESTIONS["bytes"]).id == "ndcg_at_10"

    def test_a_wrong_one_is_told_the_nearest_and_those_that_fit(self) -> None:
        with pytest.raises(
            ValueError, match=r"there is no metric 'acuracy'; did you mean 'accuracy'.*; these"
        ) as e:
            create_metric("acuracy", QUESTIONS["four classes"])
        fitting = "accuracy, average_precision, balanced_accuracy, f1, log_loss, mrr"
        assert str(e.value).endswith(f"these measure what is asked here: {fitting}")
        with pytest.raises(
            ValueError, match="'auc' measures two classes, and there are 4; these measure .*: accuracy"
        ):
            create_metric("auc", QUESTIONS["four classes"])
        with pytest.raises(ValueError, match="'recall@5' measures more than 5 classes, and there are 4"):
            create_metric("recall@5", QUESTIONS["four classes"])

    def test_one_out_of_a_file(self, tmp_path) -> None:
        file = tmp_path / "mine.py"
        file.write_text(
            "from anyformer.metrics.mae import MAE\n\n\nclass Doubled(MAE):\n    name = 'doubled'\n\n"
            "    def items(self, outputs, target):\n        return super().items(outputs, target) * 2\n"
            "\n\nclass Bad(MAE):\n    def items(self, outputs, target):\n        return outputs.sum()\n"
            "\n\nnothing = 1\n"
        )
        metric = create_metric(f"{file}:Doubled", QUESTIONS["numbers"])
        assert isinstance(metric, Metric) and metric.info.name == "doubled" and metric.info.unit == "price"
        with pytest.raises(ValueError, match=r"'Bad': items must be of the shape .*\(5, K\), got \(\)"):
            create_metric(f"{file}:Bad", QUESTIONS["numbers"]).measure(*answers(QUESTIONS["numbers"], 5))
        with pytest.raises(ValueError, match="must be a subclass of anyformer.metrics.Metric"):
            create_metric(f"{file}:nothing", QUESTIONS["numbers"])


class TestFactsOfEarlierResults:
    def test_what_they_left_out_is_that_of_shares_and_errors(self) -> None:
        share = MetricInfo.model_validate({"name": "accuracy", "higher_is_better": True, "best": 1.0})
        assert share.limits == (0, 1) and share.places == 3
        error = MetricInfo.model_validate({"name": "MAE", "higher_is_better": False, "best": 0.0})
        assert error.limits == (0, math.inf) and error.places is None
        assert MetricInfo(name="skill").limits == (-math.inf, math.inf)
