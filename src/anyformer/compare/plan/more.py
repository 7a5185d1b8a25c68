"""Goes on with a finished comparison: more steps for all, from where the learning rate began to fall."""

from __future__ import annotations

import os
from pathlib import Path

from anyformer.compare.plan.budget import BEFORE_DECAY, CLOSING_SECONDS, OVERHEAD, Budget, propose_time
from anyformer.compare.plan.clock import Clock
from anyformer.compare.plan.schema import More, Plan
from anyformer.compare.results import TaskResult
from anyformer.compare.results.finished import REPORT, RESULTS, SEAL, read_finished

WORTH_IT = 1.1
"""So many times the steps at least; fewer would tell nothing new."""
SEARCHED_FOR = 4.0
"""Learning rates that were found for runs of one length are good for runs up to so many times as long."""


def grant_more(plan: Plan, folder: Path, budget: str) -> None:
    """Changes a finished plan to one that goes on; its results are kept under another name. The folder is held.

    Raises:
        ValueError: when the comparison has not finished, or when so little is worth nothing.
    """
    done, _ = read_finished(folder)
    if done is None:
        raise ValueError(
            f"more: the comparison in {str(folder)!r} has not finished: go on with --resume first"
        )
    parsed, times = Budget.parse(budget), 1.0
    for task in plan.tasks:
        parsed.steps(task.tokens)  # says so where so many tokens are not even one step
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
    """Takes back what is to be decided anew; runs of a budget of time will be about ``times`` as long as before.

    The search for learning rates stands, and with it what was trained, unless it was cut short, or made for runs less
    than a quarter as long.
    """
    plan.busy = ""
    plan.more.append(more)
    for task in plan.tasks:
        if task.final is None:
            continue
        task.trained, task.final = task.final.steps, None
        task.remarks.append(
            f"Gone on with for {more.budget} after {task.trained:,} steps of each run; what was found then is in "
            f"{more.kept}."
        )
        fixed = plan.granted.steps(task.tokens)
        longer = times if fixed is None else 1 + fixed / task.trained
        if plan.search_cut or longer > SEARCHED_FOR:
            task.rounds, task.trials, task.legs = None, {}, []
        task.legs = [leg for leg in task.legs if leg.steps <= task.goes_on_from]
    plan.search_cut = False


def _spent_seconds(result: TaskResult, workers: int) -> float:
    return OVERHEAD * sum(run.seconds for c in result.candidates for run in c.runs) / workers


def _free_name(folder: Path) -> str:
    number = 1
    while (folder / f"results-{number}.json").exists():
        number += 1
    return f"results-{number}.json"
