"""Candidates that nobody named, and that are too slow for the budget: all runs have as many steps, so all would wait.

Where the runs would not see the training data once, the slowest of the candidates that were chosen by default is left
out if its steps take as long as those of all others together, and then perhaps the next one. The first of them, which
suits the data best, always stays.
"""

from __future__ import annotations

from collections.abc import Mapping

from anyformer.compare.plan.allocation import Speeds, seconds_for, solve_steps
from anyformer.compare.plan.schema import Plan, TaskPlan
from anyformer.compare.results.formats import join
from anyformer.spelling import option


def leave_out_slow(plan: Plan, speeds: Mapping[str, Speeds], elapsed: float) -> None:
    """Set the reason of each candidate that is left out, where nothing else of its task is decided yet."""
    if plan.granted.kind != "seconds" or plan.equal == "steps":
        return
    for task in plan.tasks:
        if task.by_default and task.once is not None and task.rounds is None:
            _leave_out(plan, task, task.once, dict(speeds.get(task.name, {})), elapsed)


def _leave_out(plan: Plan, task: TaskPlan, once: float, known: Speeds, elapsed: float) -> None:
    seconds, rest, first = seconds_for(plan, task, elapsed), dict(known), task.candidates[0].name
    while (
        rest.keys() - {first} and len(rest) > 1 and solve_steps(plan, task, rest, seconds, search=True) < once
    ):
        slowest = max(rest.keys() - {first}, key=lambda name: rest[name].step_seconds)
        if 2 * rest[slowest].step_seconds < sum(speed.step_seconds for speed in rest.values()):
            break
        del rest[slowest]
    out = [name for name in known if name not in rest]
    if not out:
        return
    before, after = (solve_steps(plan, task, some, seconds, search=True) for some in (known, rest))
    for name in out:
        task.candidate(name).slow = (
            f"too slow for the budget: each run would have {before:,} steps with all candidates, and has {after:,} "
            f"without {join(out)}; in {once:,.0f} the training data is seen once. {option('models')} compares it all "
            "the same"
        )
