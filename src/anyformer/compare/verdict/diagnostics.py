"""Diagnostics of the data by the winner: order, the length of memory that pays, variates, and a trend."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from anyformer.compare.plan.schema import Plan, TaskPlan
from anyformer.compare.results import Diagnostic, Sample, TaskResult
from anyformer.compare.results.failures import explain
from anyformer.compare.results.formats import format_scores, join
from anyformer.compare.run.executor import MODEL
from anyformer.compare.run.items import sample_of
from anyformer.compare.run.outcomes import TaskOutcomes
from anyformer.compare.run.probes import Kind, Probe, evaluate_probe, probes_for
from anyformer.compare.verdict.confidence_intervals import LEVEL, ScoredEntry
from anyformer.compare.verdict.significance import advantage, holm, smallest_that_matters
from anyformer.compare.verdict.winner import best_candidate, best_run, model_in
from anyformer.machine import MachineFault, machine_fault
from anyformer.metrics import MetricInfo
from anyformer.models import SequenceModel
from anyformer.tasks import Task

ITEMS = 256
"""The most test samples that are changed."""
SECONDS = 4.0
"""Seconds after which no further change is tried, at most."""
SHARE = 0.03
"""The same as a share of a budget of time."""
ASKED: dict[Kind, str] = {
    "order": "order",
    "context": "the length of memory",
    "variates": "variates",
    "trend": "trend",
}
"""What a change asks, in words."""
Change = tuple[Kind, str]
"""Kind and detail of a change."""


@dataclass(frozen=True)
class Effect:
    """The effect of a change: the score after it, what it costs (positive is worse), and whether that is no chance."""

    detail: str
    score: float
    cost: float
    sure: bool


def diagnose(
    result: TaskResult, plan: Plan, task_plan: TaskPlan, task: Task, found: TaskOutcomes
) -> tuple[list[Diagnostic], list[str]]:
    """Diagnose a task's data by the best run of its winner.

    Returns:
        The diagnostics, without those left for lack of time; and sentences about the changes that could not be scored.

    Raises:
        MachineFault: if the machine failed, not the model.
    """
    best = best_candidate(result)
    if best is None or not best.runs or result.verdict.kind == "undertrained":
        return [], []  # a model that has learnt little uses little
    home = found.folders[best.name][best_run(best, result.task.metric).seed]
    if not (home / MODEL).is_dir():
        return [], []
    seconds = SHARE * plan.granted.amount if plan.granted.kind == "seconds" else SECONDS
    until = time.monotonic() + min(SECONDS, seconds)
    try:
        model = model_in(home / MODEL)
        probes = probes_for(task, model)
    except Exception as error:
        return [], failed_words(best.name, {("whole", ""): _reason(error, home)})
    samples: dict[Change, Sample] = {}
    failures: dict[Change, str] = {}
    for probe in probes:
        if time.monotonic() > until or ("whole", "") in failures:
            break
        try:
            sample = _scored(probe, task, model, task_plan)
            if math.isfinite(sample.score):
                samples[probe.kind, probe.detail] = sample
            else:
                failures[probe.kind, probe.detail] = "the score is not a number"
        except Exception as error:
            failures[probe.kind, probe.detail] = _reason(error, home)
    length = task.source_length or task.train_length
    told = told_of(result.task.metric, best.name, samples, length)
    return told, failed_words(best.name, failures)


def _reason(error: Exception, home: Path) -> str:
    """Return why a change could not be scored, in one line.

    Raises:
        MachineFault: if the machine failed.
    """
    fault = machine_fault(error, home)
    if fault is not None:
        raise MachineFault(fault) from error
    status, reason = explain(error)
    return f"out of memory: {reason}" if status == "out_of_memory" else reason


def failed_words(name: str, failures: Mapping[Change, str]) -> list[str]:
    """Return a sentence for each reason for which changes could not be scored.

    Args:
        name: of the candidate.
        failures: reasons by kind and detail of the changes.
    """
    found = []
    for reason in dict.fromkeys(failures.values()):
        whose = [change for change, one in failures.items() if one == reason]
        if ("whole", "") in whose:
            found.append(
                f"Nothing is known of what {name} uses of the data: scoring it again failed ({reason})."
            )
            continue
        kinds = {kind: [detail for one, detail in whose if one == kind and detail] for kind, _ in whose}
        asked = [
            f"{ASKED[kind]} ({join(details)})" if details else ASKED[kind] for kind, details in kinds.items()
        ]
        found.append(f"Not known: {join(asked)}; scoring {name} on samples changed so failed ({reason}).")
    return found


def _scored(probe: Probe, task: Task, model: SequenceModel, task_plan: TaskPlan) -> Sample:
    return sample_of(evaluate_probe(probe, task, model, ITEMS, task_plan.eval_size))


def told_of(metric: MetricInfo, name: str, samples: Mapping[Change, Sample], length: int) -> list[Diagnostic]:
    """Return the diagnostics from the scores of probes, by their kind and detail.

    Args:
        metric: of the scores.
        name: of the candidate.
        samples: with that of the unchanged data, ``("whole", "")``.
        length: elements of a sample.
    """
    whole = samples.get(("whole", ""))
    if whole is None or not math.isfinite(whole.score):
        return []
    found = []
    for kind, tell in (("order", _order), ("context", _context), ("variates", _variates), ("trend", _trend)):
        changed = {detail: sample for (one, detail), sample in samples.items() if one == kind}
        if changed and all(math.isfinite(sample.score) for sample in changed.values()):
            effects = _effects(metric, whole, changed)
            told = tell(metric, name, whole.score, effects, length)
            scores = {effect.detail: effect.score for effect in effects}
            found.append(Diagnostic(kind=kind, told=told, score=whole.score, changed=scores))
    return found


def _effects(metric: MetricInfo, whole: Sample, changed: Mapping[str, Sample]) -> list[Effect]:
    """Return the effects of changes, each tested against the unchanged data on the same samples, by Holm's method."""
    before = ScoredEntry("whole", (whole,), is_reference=True)
    entries = [ScoredEntry(detail, (sample,), is_reference=True) for detail, sample in changed.items()]
    estimates = [
        advantage(before, entry, higher_is_better=metric.higher_is_better, limits=metric.limits)
        for entry in entries
    ]
    return [
        Effect(
            entry.name,
            entry.score,
            estimate.mean,
            p < LEVEL and abs(estimate.mean) > smallest_that_matters(before, entry),
        )
        for entry, estimate, p in zip(entries, estimates, holm([e.p for e in estimates]), strict=True)
    ]


def _from_to(metric: MetricInfo, before: float, after: float) -> str:
    first, second = format_scores(metric, [before, after])
    unit = f" {metric.unit}" if metric.unit and metric.unit not in metric.name else ""
    return f"{metric.name} goes from {first} to {second}{unit}"


def _order(metric: MetricInfo, name: str, before: float, effects: Sequence[Effect], length: int) -> str:
    effect = effects[0]
    changed = (
        f"with the elements of each sample in another order its {_from_to(metric, before, effect.score)}"
    )
    if effect.sure and effect.cost > 0:
        return f"Order counts: {name} uses it, {changed}."
    return (
        f"Order: {changed}, no loss beyond chance: nothing shows that {name} uses order, and a model without it may do "
        "as well."
    )


def _context(metric: MetricInfo, name: str, before: float, effects: Sequence[Effect], length: int) -> str:
    shorter = sorted(effects, key=lambda effect: -int(effect.detail))
    hurts = next((effect for effect in shorter if effect.sure and effect.cost > 0), None)
    enough = [int(e.detail) for e in shorter if hurts is None or int(e.detail) > int(hurts.detail)]
    kept = min([length, *enough])
    if hurts is None:
        return (
            f"Memory: with the last {kept} of {length} elements alone {name} loses nothing beyond chance: nothing "
            "shows that a longer memory pays."
        )
    loss = f"with the last {hurts.detail} alone its {_from_to(metric, before, hurts.score)}"
    if kept == length:
        return f"Memory: {name} uses all {length} elements, {loss}, though it was not trained on so few."
    return f"Memory: {name} uses about the last {kept} of {length} elements, without loss; {loss}."


def _variates(metric: MetricInfo, name: str, before: float, effects: Sequence[Effect], length: int) -> str:
    used = sorted((e for e in effects if e.sure and e.cost > 0), key=lambda effect: -effect.cost)
    whose = "with the values of another sample"
    if not used:
        what = effects[0].detail if len(effects) == 1 else "each of its variates alone"
        return f"Variates: {whose} in {what}, {name} loses nothing beyond chance."
    first = used[0]
    rest = f"; it uses {join([e.detail for e in used[1:]])} too" if used[1:] else ""
    return f"Variates: {name} uses {first.detail}: {whose} there its {_from_to(metric, before, first.score)}{rest}."


def _trend(metric: MetricInfo, name: str, before: float, effects: Sequence[Effect], length: int) -> str:
    effect = effects[0]
    scores = _from_to(metric, before, effect.score)
    changed = f"with a straight line taken out of each window and drawn on, its {scores}"
    if not effect.sure:
        return f"Trend: {changed}, no difference beyond chance: nothing shows that {name} makes more of it than a line."
    if effect.cost > 0:
        return f"Trend: {changed}: {name} makes more of a trend than a line does."
    return f"Trend: {changed}, which is better: forecasts of the data without its trend are worth a try."
