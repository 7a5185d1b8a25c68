"""Longer training in a finished comparison: more steps for all, from where the learning rate began to fall."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from anyformer.compare.plan.budget import BEFORE_DECAY, CLOSING_SECONDS, OVERHEAD, Budget, propose_time
from anyformer.compare.plan.clock import Clock
from anyformer.compare.plan.schema import More, Plan
from anyformer.compare.results import TaskResult
from anyformer.compare.results.finished import REPORT, RESULTS, SEAL, read_finished
from anyformer.compare.results.formats import number_or_range

WORTH_IT = 1.1
"""Least factor by which runs become longer; less would tell nothing new."""
SEARCHED_FOR = 4.0
"""Largest factor by which runs may become longer without a new search for learning rates."""


def grant_more(plan: Plan, folder: Path, budget: str) -> None:
    """Extend the plan of a finished comparison by a further budget, and keep its results under another name.

    The caller holds the lock of the folder.

    Raises:
        ValueError: if the comparison has not finished, or the budget is too small to make a difference.
    """
    done, _ = read_finished(folder)
    if done is None:
        raise ValueError(
            f"more: the comparison in {str(folder)!r} has not finished: go on with --resume first"
        )
    parsed, times = Budget.parse(budget), 1.0
    for task in plan.tasks:
        parsed.steps(task.tokens)  # raises if the budget is less than one step
    if parsed.kind == "seconds":
        spent = sum(_spent_seconds(result, plan.workers) for result in done.tasks)
        needed = CLOSING_SECONDS + spent * (WORTH_IT - BEFORE_DECAY)
        times = BEFORE_DECAY + (parsed.amount - CLOSING_SECONDS) / max(spent, 1e-9)
        if parsed.amount < needed:
            raise ValueError(
                f"more: {budget} is too short to train for noticeably longer than before; "
                f"give at least {propose_time(needed)[1]}"
            )
    kept = _free_name(folder)
    os.replace(folder / RESULTS, folder / kept)
    os.replace(folder / REPORT, folder / kept.replace(".json", ".html").replace("results", "report"))
    (folder / SEAL).unlink(missing_ok=True)
    extend_plan(plan, More(budget=budget, since=Clock(folder).before, kept=kept), times=times)
    plan.save(folder)


def extend_plan(plan: Plan, more: More, *, times: float) -> None:
    """Reset the decisions of a plan that are to be made anew.

    The search for learning rates and the trained legs are kept, unless the search was cut short or runs become more
    than ``SEARCHED_FOR`` times as long.

    Args:
        more: the further budget.
        times: expected length of runs over that before, for a budget of time.
    """
    plan.busy = ""
    plan.more.append(more)
    for task in plan.tasks:
        if task.final is None:
            continue
        task.trained, task.final, task.refit = task.final.steps, None, None
        fixed = plan.granted.steps(task.tokens)
        longer = times if fixed is None else 1 + fixed / task.trained
        anew = plan.search_cut or longer > SEARCHED_FOR
        own = [task.steps_of(candidate.name, task.trained) for candidate in task.buildable]
        task.remarks.append(_remark(more, own, anew=anew, cut=plan.search_cut))
        if anew:
            task.strides, task.rounds, task.trials, task.legs, task.stopped = {}, None, {}, [], {}
            for candidate in task.candidates:
                candidate.slow = ""
        task.legs = [leg for leg in task.legs if leg.steps <= task.goes_on_from]
    plan.search_cut = False


def _remark(more: More, steps: Sequence[int], *, anew: bool, cut: bool) -> str:
    """Return the sentence about the training by a further budget, after so many steps of each candidate's runs."""
    before = f"{number_or_range(steps)} steps of each run"
    if not anew:
        return f"Gone on with for {more.budget} after {before}; what was found then is in {more.kept}."
    why = "was cut short" if cut else "was for runs less than a quarter as long"
    return (
        f"Searched and trained anew for {more.budget}, as the search before {why}; what was found after {before} is in "
        f"{more.kept}."
    )


def _spent_seconds(result: TaskResult, workers: int) -> float:
    return OVERHEAD * sum(run.seconds for c in result.candidates for run in c.runs) / workers


def _free_name(folder: Path) -> str:
    number = 1
    while (folder / f"results-{number}.json").exists():
        number += 1
    return f"results-{number}.json"
