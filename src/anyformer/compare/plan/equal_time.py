"""Equal time for all candidates: how many steps each takes while the slowest takes one.

The plan counts in the steps of the slowest candidate. Another one takes its *stride* of steps for each of them, in its
runs of the search for learning rates too, so that all have the same time whatever their speed. Strides of the search
follow from the step times that are measured at the start, those of the full runs from the shortest of the many that the
search measures: what else runs on the machine makes steps longer, and of two candidates that are alike none is to have
more steps by chance.

Where the slowest candidate would take fewer than ``FEW`` steps in its share of the time, it is left out if nobody named
it and it is not the first of those chosen by default, which suits the data best. Else strides are shortened until it
has them: it is then trained for longer than the others, and at the end, with strides of 1, all take as many steps.
"""

from __future__ import annotations

from collections.abc import Mapping

from anyformer.compare.plan.allocation import FEWEST_STEPS, Speeds, seconds_for, solve_steps
from anyformer.compare.plan.schema import Calibration, Plan, TaskPlan
from anyformer.spelling import option

FEW = 2 * FEWEST_STEPS
"""Fewest steps of the slowest candidate for which the others do not take fewer."""
SHORTER = 0.8
"""Factor by which strides are shortened at once."""


def of_planned_steps(task: TaskPlan, speeds: Speeds) -> dict[str, Calibration]:
    """Return the speeds of candidates with the time of a step of the plan in place of one of their own."""
    return _scaled(speeds, task.strides)


def decide_strides(plan: Plan, speeds: Mapping[str, Speeds], elapsed: float) -> None:
    """Fill in ``strides`` of each task, once before the search, and once before the full runs.

    Before the search, those are left out who are too slow.

    Args:
        speeds: those of the candidates' own steps, with the shortest step time measured so far.
        elapsed: seconds since the start of the comparison.
    """
    if plan.granted.kind != "seconds" or plan.equal == "steps":
        return
    for task in plan.tasks:
        known = dict(speeds.get(task.name, {}))
        if known and not task.legs:
            seconds = seconds_for(plan, task, elapsed)
            if task.by_default and task.rounds is None:
                known = _without_slow(plan, task, known, seconds)
            task.strides = _strides(known)
            while _planned_steps(plan, task, known, task.strides, seconds) < FEW and _unequal(task.strides):
                task.strides = {name: max(1.0, SHORTER * stride) for name, stride in task.strides.items()}


def _without_slow(plan: Plan, task: TaskPlan, known: Speeds, seconds: float) -> dict[str, Calibration]:
    """Return the candidates that are not too slow, and note the reason at the others."""
    rest, first = dict(known), task.candidates[0].name
    while len(rest) > 1 and _planned_steps(plan, task, rest, _strides(rest), seconds) < FEW:
        slowest = max(rest, key=lambda name: rest[name].step_seconds)
        if slowest == first or not _unequal(_strides(rest)):
            break
        del rest[slowest]
        task.candidate(slowest).slow = (
            f"too slow for the budget: it would take fewer than {FEW} steps in the time that each candidate has. "
            f"{option('models')} compares it all the same"
        )
    return rest


def _planned_steps(
    plan: Plan, task: TaskPlan, speeds: Speeds, strides: Mapping[str, float], seconds: float
) -> int:
    return solve_steps(plan, task, _scaled(speeds, strides), seconds, search=task.rounds is None)


def _strides(speeds: Speeds) -> dict[str, float]:
    slowest = max(speed.step_seconds for speed in speeds.values())
    return {name: slowest / speed.step_seconds for name, speed in speeds.items()}


def _unequal(strides: Mapping[str, float]) -> bool:
    return max(strides.values()) > 1.0


def _scaled(speeds: Speeds, strides: Mapping[str, float]) -> dict[str, Calibration]:
    return {
        name: speed.model_copy(update={"step_seconds": strides.get(name, 1.0) * speed.step_seconds})
        for name, speed in speeds.items()
    }
