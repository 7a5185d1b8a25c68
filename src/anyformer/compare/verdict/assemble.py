"""Assembly of results from the outcomes of units: scores, leaderboard and verdict."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path

from anyformer.compare.plan.learning_rate_search import RUNGS, Place, place_of
from anyformer.compare.plan.limits import Limit, read_bytes, read_latency
from anyformer.compare.plan.schema import Plan, PlannedCandidate, TaskPlan
from anyformer.compare.results import (
    CandidateResult,
    Costs,
    ReferenceResult,
    Settings,
    TaskFacts,
    TaskResult,
    Verdict,
)
from anyformer.compare.run.executor import MODEL
from anyformer.compare.run.items import ITEMS, load_items, sample_of
from anyformer.compare.run.outcomes import TaskOutcomes
from anyformer.compare.run.unit import Outcome, ReferenceFitted
from anyformer.compare.verdict.judge import judge
from anyformer.compare.verdict.limits import outside, price, told
from anyformer.compare.verdict.undertrained import Training, unless_undertrained
from anyformer.tables.files import READ
from anyformer.tables.packed import suffix_of
from anyformer.tasks import Task
from anyformer.tasks.tags.columns import SUFFIXES

SEARCH = (
    "Each candidate tried the same learning rates in short runs, and went on along the same ladder of rates until its "
    "best had a worse one on either side; longer runs of the best two and the next lower one chose between them. "
    "The best two of these were run with each seed: where the seeds did not agree beyond chance on the better one, "
    "both are used, in turn, so that intervals contain what is chance in the search."
)
WEIGHTS = "model.safetensors"
"""File of a saved model's weights."""
SCHEDULE = "AdamW with weight decay and clipped gradients; a linear warm-up, then level, then linearly down to a tenth"


def assemble(plan: Plan, task_plan: TaskPlan, task: Task, found: TaskOutcomes) -> TaskResult:
    """Return the result of one task, with its leaderboard and verdict."""
    metric = task.metric.info
    candidates = [_candidate(planned, task_plan, found) for planned in task_plan.candidates]
    references = [
        _reference(name, outcome, task_plan, task, found) for name, outcome in found.references.items()
    ]
    limits = _limits(plan, task)
    for candidate in candidates:
        if candidate.status == "ok":
            candidate.outside = outside(candidate, limits, task.train_length)
    leaderboard, verdict = judge(metric, candidates, references)
    settings = _settings(plan, task_plan)
    samples = settings.steps * settings.batch_size
    training = Training(
        steps=settings.steps,
        tokens=samples * task.sample_length,
        passes=None if task.endless else samples / task.size("train"),
        workers=plan.workers,
        slowness=plan.slowness,
    )
    inside = [candidate for candidate in candidates if not candidate.outside]
    verdict = unless_undertrained(verdict, leaderboard, metric, inside, references, training)
    verdict.details += _price(verdict, inside, task.train_length)
    if limits:
        verdict.details.insert(0, told(candidates, limits))
    return TaskResult(
        task=TaskFacts(
            name=task.name,
            title=task.title,
            metric=metric,
            beside=[metric.info for metric in task.beside],
            beside_items=min(task.beside_items, task.size("test")),
            train_length=task.train_length,
            source_length=task.source_length,
            lengths=list(task.lengths),
            predicts=task.encoding is not None,
            writes=_writes(task),
            suffix=_suffix(task_plan.source),
            facts=json.loads(json.dumps(task.describe(), default=str)),
            notes=[
                *task.notes(),
                *task_plan.remarks,
                *([plan.busy] if plan.busy else []),
                *_evaluated(task_plan),
            ],
        ),
        settings=settings,
        candidates=candidates,
        references=references,
        leaderboard=leaderboard,
        verdict=verdict,
    )


def _limits(plan: Plan, task: Task) -> list[Limit]:
    """Return the user's limits, with what each is of; of a time, a token where one is told after another."""
    found = []
    if plan.max_latency is not None:
        limit = read_latency(plan.max_latency)
        streams = task.objective.pool is None and not task.sees_whole and task.source is None
        found.append(limit._replace(of=limit.of or ("token" if streams else "sample")))
    if plan.max_bytes is not None:
        found.append(read_bytes(plan.max_bytes))
    return found


def _writes(task: Task) -> bool:
    """Return True if models of a task continue a prompt of its tokens."""
    reads = task.encoding is None and task.vocab_size is not None and task.source is None
    return reads and task.objective.pool is None and not task.sees_whole


def _price(verdict: Verdict, candidates: Sequence[CandidateResult], length: int) -> list[str]:
    """Return what the winner costs, if there is one, in a sentence."""
    if verdict.kind not in ("winner", "single"):
        return []
    best = next(c for c in candidates if c.status == "ok" and verdict.winner in (None, c.name))
    return [text for text in [price(best, length)] if text]


def _settings(plan: Plan, task_plan: TaskPlan) -> Settings:
    return Settings(
        budget=plan.budgets,
        hold=plan.hold,
        steps=task_plan.final.steps if task_plan.final else 0,
        batch_size=task_plan.batch_size,
        seeds=plan.seeds,
        learning_rates=sorted(task_plan.learning_rates),
        ladder=list(RUNGS),
        search=SEARCH,
        schedule=SCHEDULE,
        equal=plan.equal if plan.granted.kind == "seconds" else "steps",
        target_parameters=task_plan.target_parameters,
        tables=task_plan.tables,
    )


def _evaluated(task_plan: TaskPlan) -> list[str]:
    final, total = task_plan.final, task_plan.split_items["test"]
    if final is None or final.test_items >= total:
        return []
    return [
        f"To stay within the budget, {final.test_items:,} of the {total:,} test samples were used, spread evenly "
        "over all of them; the same for every candidate and reference."
    ]


def _candidate(planned: PlannedCandidate, task_plan: TaskPlan, found: TaskOutcomes) -> CandidateResult:
    name = planned.name
    rates = found.rates.get(name, {})
    result = CandidateResult(
        name=name,
        given=planned.given,
        spec=planned.spec,
        parameters=planned.parameters,
        width=planned.width,
        untrained=found.calibrations[name].untrained if name in found.calibrations else None,
        learning_rate=rates[min(rates)] if rates else None,
        rate_lies=_rate_lies(name, found),
        search=found.search.get(name, []),
        steps=task_plan.steps_of(name, task_plan.final.steps) if task_plan.final else 0,
    )
    if name in task_plan.stopped:
        stopped = task_plan.stopped[name]
        own = task_plan.steps_of(name, stopped.steps)
        result.stopped = stopped.model_copy(update={"steps": own})
    if planned.problem:
        result.status, result.reason = "bad_spec", planned.problem
        return result
    if planned.slow:
        result.status, result.reason = "left_out", planned.slow
        return result
    result.runs = [scored.run(seed, rates[seed]) for seed, scored in sorted(found.runs.get(name, {}).items())]
    if name in found.failures:
        result.status, result.reason = found.failures[name]
    elif any(not math.isfinite(run.test.score) for run in result.runs):
        result.status, result.reason = "failed", "its score on the test split is not a number"
    weights = [home / MODEL / WEIGHTS for home in found.folders.get(name, {}).values()]
    result.saved_bytes = next((path.stat().st_size for path in weights if path.is_file()), None)
    costs = found.costs.get(name)
    if costs is not None and (measured := costs.of(Costs)):
        result.costs = measured
    elif costs is not None:
        result.costs.notes.append(f"costs were not measured: {costs.reason}")
    return result


def _rate_lies(name: str, found: TaskOutcomes) -> Place | None:
    if name not in found.rates:
        return None
    rates = found.rates[name]
    return place_of(rates[min(rates)], {run.learning_rate for run in found.search[name]})


def _reference(
    name: str, outcome: Outcome, task_plan: TaskPlan, task: Task, found: TaskOutcomes
) -> ReferenceResult:
    fitted = outcome.of(ReferenceFitted)
    if fitted is None:
        return ReferenceResult(name=name, reason=outcome.reason)
    path, final = found.reference_folders[name] / ITEMS, task_plan.final
    test_items = final.test_items if final else task_plan.split_items["test"]
    length_items = final.length_items if final else test_items
    return ReferenceResult(
        name=name,
        **fitted.model_dump(include={"description", "parameters", "fit_seconds", "predict_ms"}),
        beside=fitted.beside,
        test=sample_of(load_items(path, task, test_items)),
        by_length={n: sample_of(load_items(path, task, length_items, length=n)) for n in task.lengths},
    )


def _suffix(source: str | None) -> str:
    """Return the ending of a file of answers about such data: that of a table or of tagged words, else ``.csv``."""
    found = "" if source is None else suffix_of(Path(source))
    return found if found in {*READ, *SUFFIXES} else ".csv"
