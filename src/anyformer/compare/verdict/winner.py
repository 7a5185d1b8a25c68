"""The saved model: of which candidate and run it is, its last training on all data, and its folder."""

from __future__ import annotations

import contextlib
import io
import math
from collections.abc import Mapping
from pathlib import Path
from statistics import fmean

from anyformer.compare.plan.allocation import decide_refit
from anyformer.compare.plan.schema import Plan, Refit, TaskPlan
from anyformer.compare.results import CandidateResult, Confidence, SeedRun, TaskResult
from anyformer.compare.results.formats import join, score_with_unit
from anyformer.compare.run.executor import MODEL
from anyformer.compare.run.outcomes import TaskOutcomes
from anyformer.compare.run.unit import Outcome, Refitted
from anyformer.metrics import MetricInfo
from anyformer.models import SequenceModel
from anyformer.tasks import Task
from anyformer.train import save_bundle
from anyformer.train.calibration import calibrate

UNSEEN = "The saved model has not learnt from the validation and test data"


def best_candidate(result: TaskResult) -> CandidateResult | None:
    """Return the candidate whose model is saved, if any: of those tied for the best, the best in validation.

    The test split decides only who is tied: a choice by its scores among them would be one by chance.
    """
    tied = [candidate for candidate in result.candidates if candidate.name in result.verdict.best]
    return max(tied, key=lambda candidate: _mean_valid(candidate, result.task.metric), default=None)


def _mean_valid(candidate: CandidateResult, metric: MetricInfo) -> float:
    """Return the mean validation score of a candidate's runs, higher is better; the lowest number if one has none."""
    scores = [run.valid for run in candidate.runs if run.valid is not None]
    return metric.sign * fmean(scores) if len(scores) == len(candidate.runs) else -math.inf


def choice_words(result: TaskResult, best: CandidateResult) -> list[str]:
    """Return the sentence about the choice of the saved candidate among those tied; none if it is the only one."""
    tied = result.verdict.best
    if len(tied) < 2:
        return []
    score = score_with_unit(
        result.task.metric, result.task.metric.sign * _mean_valid(best, result.task.metric)
    )
    return [
        f"Of {join(tied)}, which the test does not tell apart, {best.name} is saved: the best in validation ({score})."
    ]


def best_run(candidate: CandidateResult, metric: MetricInfo) -> SeedRun:
    """Return the best run of a candidate, by validation."""
    return max(
        candidate.runs, key=lambda run: metric.sign * run.valid if run.valid is not None else -math.inf
    )


def decide_refits(
    plan: Plan, results: Mapping[str, TaskResult], found: Mapping[str, TaskOutcomes], elapsed: float
) -> None:
    """Decide for each task about the training of its winner on all data, see :class:`Refit`."""
    for task in plan.tasks:
        result = results[task.name]
        best = best_candidate(result)
        run = None if best is None else best_run(best, result.task.metric)
        if best is None or run is None or run.learning_rate is None or not task.legs:
            task.refit = None
            continue
        leg = task.legs_of(best.name)[-1]
        refit = Refit(
            candidate=best.name,
            seed=run.seed,
            learning_rate=run.learning_rate,
            steps=run.best_step or leg.steps,
            schedule=leg.schedule,
        )
        if task.refit is not None and task.refit != refit.model_copy(update={"problem": task.refit.problem}):
            task.refit = None  # of another winner, before a damaged file was made again
        decide_refit(plan, task, refit, found[task.name].calibrations[best.name].step_seconds, elapsed)


def save_winner(
    result: TaskResult,
    task_plan: TaskPlan,
    task: Task,
    found: TaskOutcomes,
    refitted: tuple[Outcome, Path] | None,
    folder: Path,
    inside: str,
) -> None:
    """Save the winner to ``folder / inside``: its model trained on all data, or else that of its best run.

    Args:
        refitted: the outcome of its training on all data, if there was one, and its folder.
    """
    best = best_candidate(result)
    if best is None:
        return
    metric = result.task.metric
    run = best_run(best, metric)
    model, steps = found.folders[best.name][run.seed] / MODEL, None
    reason = task_plan.refit.problem if task_plan.refit is not None else ""
    if refitted is not None:
        outcome, home = refitted
        reason = _refused(outcome, best, metric)
        if not reason and task_plan.refit is not None:
            model, steps = home / MODEL, task_plan.refit.steps
    result.confidence = _confidence(found.folders[best.name][run.seed] / MODEL, task, task_plan)
    save_bundle(
        folder / inside,
        model,
        task,
        source=task_plan.source,
        target=task_plan.target,
        options=task_plan.options,
        candidate=best.name,
        seed=run.seed,
        metric=metric.name,
        valid=run.valid,
        test=run.test.score,
        trained_on="train" if steps is None else "all data",
        **({} if result.confidence is None else {"temperature": result.confidence.temperature}),
    )
    result.saved, result.saved_path, result.refit = best.name, inside, steps is not None
    notes = choice_words(result, best)
    if steps is not None:
        notes.append(
            f"The saved model was trained once more, as the run of seed {run.seed}, for {steps:,} steps on all data: "
            "the train, validation and test splits. No score is its own; those shown are of the runs before, which "
            "learnt from the train split alone."
        )
    elif reason:
        notes.append(f"{UNSEEN}: {reason}.")
    result.saved_note = " ".join(notes)


def _confidence(home: Path, task: Task, task_plan: TaskPlan) -> Confidence | None:
    """Fit the temperature of a run's probabilities, which has not learnt from the validation split."""
    if not home.is_dir() or task_plan.final is None or task.question.place != "whole":
        return None
    model = model_in(home)
    final, size = task_plan.final, task_plan.eval_size
    found = calibrate(model, task, batch_size=size, valid=final.valid_items, test=final.test_items)
    return None if found is None else Confidence(**vars(found))


def model_in(home: Path) -> SequenceModel:
    """Load the model of a run of this comparison, in evaluation mode."""
    with contextlib.redirect_stdout(io.StringIO()):  # the hub's loader prints
        model: SequenceModel = SequenceModel.from_pretrained(home, trust_code=True)
    return model.eval()


def _refused(outcome: Outcome, best: CandidateResult, metric: MetricInfo) -> str:
    """Return why a model trained on all data is not saved, "" if it is."""
    fitted = outcome.of(Refitted)
    if fitted is None:
        return f"the training on all data did not finish ({outcome.reason})"
    worst = min((metric.sign * run.valid for run in best.runs if run.valid is not None), default=-math.inf)
    if metric.sign * fitted.valid >= worst:
        return ""
    return (
        f"the training on all data came out worse in validation ({score_with_unit(metric, fitted.valid)}) than every "
        "run before, though it had learnt from it"
    )
