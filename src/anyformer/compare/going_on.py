"""Goes on with a finished comparison: more steps for all, from where the learning rate began to fall."""

from __future__ import annotations

import os
from pathlib import Path

from anyformer.compare.deciding import CLOSING_SECONDS, fixed_steps
from anyformer.compare.ending import REPORT, RESULTS, SEAL, read_ending
from anyformer.compare.maturity import BEFORE_DECAY, OVERHEAD, proposed
from anyformer.compare.plan import Budget, More, Plan
from anyformer.compare.results import TaskResult
from anyformer.compare.run import Clock

WORTH_IT = 1.1
"""So many times the steps at least; fewer would tell nothing new."""


def grant_more(plan: Plan, folder: Path, budget: str) -> None:
    """Changes a finished plan to one that goes on; its results are kept under another name. The folder is held.

    Raises:
        ValueError: when the comparison has not finished, or when so little is worth nothing.
    """
    done, _ = read_ending(folder)
    if done is None:
        raise ValueError(
            f"more: the comparison in {str(folder)!r} has not finished: go on with --resume first"
        )
    parsed = Budget.parse(budget)
    for task in plan.tasks:
        fixed_steps(parsed, task)  # says so where so many tokens are not even one step
    if parsed.kind == "seconds":
        needed = CLOSING_SECONDS + sum(_least_seconds(result, plan.workers) for result in done.tasks)
        if parsed.amount < needed:
            raise ValueError(
                f"more: {budget} is too short to train for noticeably longer than before; "
                f"give at least {proposed(needed)[1]}"
            )
    kept = _free_name(folder)
    os.replace(folder / RESULTS, folder / kept)
    os.replace(folder / REPORT, folder / kept.replace(".json", ".html").replace("results", "report"))
    (folder / SEAL).unlink(missing_ok=True)
    plan.busy = ""
    plan.more.append(More(budget=budget, since=Clock(folder).before, kept=kept))
    for task in plan.tasks:
        if task.final is not None:
            task.trained, task.final = task.final.steps, None
            task.remarks.append(
                f"Gone on with for {budget} after {task.trained:,} steps of each run; what was found then is in {kept}."
            )
            task.legs = [leg for leg in task.legs if leg.steps <= task.goes_on_from]
    plan.save(folder)


def _least_seconds(result: TaskResult, workers: int) -> float:
    spent = sum(run.seconds for candidate in result.candidates for run in candidate.runs)
    return OVERHEAD * spent / workers * (WORTH_IT - BEFORE_DECAY)


def _free_name(folder: Path) -> str:
    number = 1
    while (folder / f"results-{number}.json").exists():
        number += 1
    return f"results-{number}.json"
