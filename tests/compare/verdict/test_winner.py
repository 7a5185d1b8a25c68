"""The winner is trained on all data before it is saved, where there is time; what is saved says so."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from synthetic import task_result

from anyformer.compare import Comparison, compare, resume
from anyformer.compare.plan.allocation import decide_refit
from anyformer.compare.plan.schema import Plan, Refit
from anyformer.compare.results import CandidateResult, Sample, SeedRun
from anyformer.compare.run.scheduler import Scheduler
from anyformer.compare.run.unit import Outcome, Refitted
from anyformer.compare.verdict.judge import judge
from anyformer.compare.verdict.winner import _refused, best_candidate, best_run, choice_words
from anyformer.models import SequenceModel
from anyformer.tasks import open_data
from anyformer.train import load_bundle

pytestmark = pytest.mark.usefixtures("brief_costs")
SETTINGS = {"budget": "8 steps", "parameters": 20_687, "batch_size": 8, "workers": 1, "quiet": True}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("winner") / "data.csv"
    rows = [f"{i % 7},{i * 7 % 5},{'ab'[i % 7 > 3]}" for i in range(300)]
    path.write_text("\n".join(["x,y,label", *rows, ""]))
    return path


@pytest.fixture(scope="module")
def finished(data: Path) -> Comparison:
    return compare(data, "mamba", target="label", out=data.parent / "out", **SETTINGS)


def run_model(found: Comparison) -> SequenceModel:
    """The model of the run whose scores are told."""
    result = found.results.tasks[0]
    seed = best_run(result.candidates[0], result.task.metric).seed
    return SequenceModel.from_pretrained(next(found.folder.glob(f"units/*-score-*-seed{seed}-*/model")))


def test_the_saved_model_was_trained_on_all_data_and_says_so(finished: Comparison) -> None:
    result = finished.results.tasks[0]
    assert finished.winner is not None
    facts = load_bundle(finished.winner).facts
    assert (facts["trained_on"], result.refit) == ("all data", True)
    assert facts["test"] == best_run(result.candidates[0], result.task.metric).test.score
    assert "for 8 steps on all data" in result.saved_note
    assert result.saved_note in finished.report.read_text()
    saved, before = SequenceModel.from_pretrained(finished.winner), run_model(finished)
    assert any(not torch.equal(a, b) for a, b in zip(saved.parameters(), before.parameters(), strict=True))


def test_the_training_is_that_of_the_run_on_other_batches(finished: Comparison, data: Path) -> None:
    task = open_data(data, "label")
    drawn = [task.batch_of_all(step, 8) for step in range(8)]
    own = [task.train_batch(step, 8) for step in range(8)]
    assert 0 < sum(torch.equal(a.inputs["x"], b.inputs["x"]) for a, b in zip(drawn, own, strict=True)) < 8
    plan = Plan.load(finished.folder).tasks[0]
    assert plan.refit is not None and plan.refit.steps == 8
    assert plan.refit.learning_rate == finished.results.tasks[0].candidates[0].learning_rate


def test_without_it_the_model_of_the_run_is_saved(data: Path, tmp_path: Path) -> None:
    found = compare(data, "mamba", target="label", out=tmp_path / "out", refit=False, **SETTINGS)
    result = found.results.tasks[0]
    assert found.winner is not None and load_bundle(found.winner).facts["trained_on"] == "train"
    assert (result.refit, result.saved_note) == (False, "")
    saved = SequenceModel.from_pretrained(found.winner)
    for a, b in zip(saved.parameters(), run_model(found).parameters(), strict=True):
        assert torch.equal(a, b)


def test_stopped_before_it_and_resumed(finished: Comparison, data: Path, tmp_path: Path) -> None:
    def stopped(self: Scheduler) -> None:
        raise KeyboardInterrupt

    patched = pytest.MonkeyPatch()
    patched.setattr(Scheduler, "refit", stopped)
    with pytest.raises(KeyboardInterrupt):
        compare(data, "mamba", target="label", out=tmp_path / "out", **SETTINGS)
    patched.undo()
    assert not (tmp_path / "out" / "winner").exists()
    found = resume(tmp_path / "out", quiet=True)
    assert found.winner is not None and finished.winner is not None
    ours, theirs = (SequenceModel.from_pretrained(one.winner) for one in (found, finished))
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.equal(a, b)


def test_endless_data_needs_none(tmp_path: Path) -> None:
    options = {"vocab_size": 8, "num_pairs": 2, "length": 12}
    settings = {**SETTINGS, "parameters": 8000}
    found = compare("recall", "retnet", out=tmp_path / "out", options=options, **settings)
    assert (found.results.tasks[0].refit, found.results.tasks[0].saved_note) == (False, "")


def test_too_little_time_is_said(finished: Comparison) -> None:
    plan = Plan.load(finished.folder).model_copy(update={"budget": "60s", "closing": 2.0})
    task = plan.tasks[0]
    given = {"candidate": "mamba", "seed": 0, "learning_rate": 0.1, "steps": 100, "schedule": ((100, 1.0),)}
    for elapsed, problem in ((40.0, ""), (62.0, "that takes about 11 s, and 2 s of the budget were left")):
        task.refit = None
        decide_refit(plan, task, Refit(**given), 0.1, elapsed)
        assert task.refit is not None and task.refit.problem == problem
    decide_refit(plan, task, Refit(**given), 0.1, 0.0)
    assert task.refit.problem, "a decision is made once"


@pytest.mark.parametrize("higher", [True, False])
def test_of_those_tied_the_best_in_validation_is_saved(higher: bool) -> None:
    """The first one leads in test by chance; the last one has the best validation of all and is behind in test."""
    metric = task_result(higher=higher).task.metric
    candidates = []
    for name, test, valid in (("lucky", 0.92, 0.7), ("steady", 0.91, 0.8), ("behind", 0.5, 0.99)):
        scores = [
            (t, v) if higher else (1 - t, 1 - v) for t in (test, test + 0.03, test - 0.03) for v in [valid]
        ]
        runs = [SeedRun(seed=i, test=Sample(score=t), valid=v) for i, (t, v) in enumerate(scores)]
        candidates.append(CandidateResult(name=name, given=name, runs=runs))
    result = task_result(higher=higher)
    result.candidates = candidates
    result.leaderboard, result.verdict = judge(metric, candidates, [])
    assert result.leaderboard[0].name == "lucky" and result.verdict.best == ["lucky", "steady"]
    best = best_candidate(result)
    assert best is not None and best.name == "steady"
    (said,) = choice_words(result, best)
    assert (
        "Of lucky and steady, which the test does not tell apart, steady is saved: the best in valid" in said
    )
    assert (f"({0.8 if higher else 0.2:.3f}" in said) or f"{0.8 if higher else 0.2:.4f}" in said
    candidates[1].runs[0].valid = None
    assert best_candidate(result) is candidates[0]
    result.verdict.best = ["lucky"]
    assert choice_words(result, candidates[0]) == []


@pytest.mark.parametrize("higher", [True, False])
def test_what_is_worse_than_every_run_is_refused(higher: bool) -> None:
    result = task_result(higher=higher)
    best, metric = result.candidates[0], result.task.metric
    valid = sorted(metric.sign * run.valid for run in best.runs if run.valid is not None)
    for score, words in ((valid[0], ""), (valid[0] - 0.01, "worse in validation")):
        told = _refused(Outcome("ok", found=Refitted(valid=metric.sign * score, seconds=1.0)), best, metric)
        assert words in told and bool(told) == bool(words)
    assert "did not finish (no memory)" in _refused(Outcome("out_of_memory", "no memory"), best, metric)


def test_classes_are_told_with_a_temperature(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rows = [f"{x:.3f},{z:.3f},{'ab'[int(x + rng.normal() > 0)]}" for x, z in rng.normal(0, 1, (400, 2))]
    (tmp_path / "data.csv").write_text("\n".join(["x,y,label", *rows, ""]))
    found = compare(tmp_path / "data.csv", "mamba", target="label", out=tmp_path / "out", **SETTINGS)
    confidence = found.results.tasks[0].confidence
    assert found.winner is not None and confidence is not None
    assert load_bundle(found.winner).facts["temperature"] == confidence.temperature
    assert (
        f"{confidence.before:.3f} without it and {confidence.after:.3f} with it" in found.report.read_text()
    )


def test_a_log_takes_the_curves(data: Path, tmp_path: Path) -> None:
    taken = []
    settings = {**SETTINGS, "refit": False, "log": lambda step, values: taken.append((step, *values))}
    compare(data, "mamba", target="label", out=tmp_path / "out", **settings)
    assert {(8, f"mamba/seed {seed}/valid") for seed in range(3)} <= set(taken)
