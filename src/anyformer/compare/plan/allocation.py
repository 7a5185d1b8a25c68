"""Allocation of the budget to training and evaluation; each decision is written into the plan once.

Steps of the full runs
    All runs have the same number, in steps of the slowest candidate (:mod:`anyformer.compare.plan.equal_time`). Under a
    budget of time it is solved from measured step times: first to size the search for learning rates, then again before
    each leg of the full runs, from the step times of the last leg and the time left. All candidates and seeds train a
    leg before any begins the next one, so that all end at the same step under the same schedule, whenever time ends.

When the machine becomes slower
    The time for measuring costs is cut first, down to ``LEAST_MEASURING``; then steps that no run has begun, so that
    the learning rate falls sooner; then the number of evaluated samples. When it becomes faster, runs are planned
    longer until the learning rate falls.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from statistics import median

from anyformer.compare.plan.budget import CLOSING_SECONDS, propose_time
from anyformer.compare.plan.more import SEARCHED_FOR
from anyformer.compare.plan.schema import (
    SHORTEST,
    Calibration,
    Final,
    Leg,
    Plan,
    Refit,
    Rounds,
    TaskPlan,
)
from anyformer.spelling import option
from anyformer.train.schedule import changed, top, whole

ROUNDS = (0.08, 0.2)
"""Steps of the two rounds of the search for a learning rate, as shares of a full run."""
USUAL_RUNS = (5, 3)
"""Runs of each round for which time is set aside, and two for each further seed; more make the full runs shorter."""
SEARCH_SHARE = 0.5
"""Share of a time budget after which the search for learning rates is cut short."""
FEWEST_STEPS = 20
"""Fewest steps of a planned run; it gets fewer only if the time runs out during training."""
EVALUATIONS = 12
"""Points on a learning curve, at most."""
LEGS = (0.3, 0.55, 0.85, 0.93)
"""Ends of the legs as shares of a run. A leg also ends where the learning rate begins to fall."""
SHORTEST_LEG = 1.0
"""Seconds of the shortest leg on an idle machine; on a busy one, where starting a leg takes longer, it is longer."""
START_SECONDS = 0.1
"""Seconds to start a run, and to continue it in each leg."""
USUAL_EVAL_COST = 1.5
"""Time of an evaluated batch in training steps where no choice may depend on a measured speed."""
LEAST_MEASURING = 0.15
"""Smallest share of the planned time for measuring costs."""
IMBALANCE = 1.08
"""Factor on the training time, because workers do not all finish at once."""
SLOWEST = 8.0
"""Largest factor by which a busy machine is expected to slow down the end of a comparison."""
STARTING_SECONDS = 1.5
"""Seconds for workers to start and to calibrate, on an idle machine."""
REFIT_SECONDS = 1.0
"""Seconds to start a process that trains the winner on all data, and to save it."""
MEASURED_STEPS = 10.0
"""Least time for measuring costs, in training steps."""
TOLERATED = 1.1
"""Factor by which a comparison may exceed its time budget."""
SPARE = 1.5
"""Proposed budgets, as a multiple of the least that suffices."""
Speeds = Mapping[str, Calibration]
"""Measured speeds, by candidate; ``step_seconds`` is the time of a step of the plan."""
Running = Mapping[str, int]
"""Full runs that are still trained, by candidate."""


def final_for(task: TaskPlan, steps: int, eval_cost: float, *, everything: bool) -> Final:
    """Decide how many samples to evaluate around full runs.

    Curves take about 3% of the training time; the rest is capped so that a run takes at most 1.3 times its steps.

    Args:
        steps: of a full run.
        eval_cost: time of an evaluated batch, in training steps.
        everything: evaluate all validation and test samples instead.
    """
    valid, test = task.split_items["valid"], task.split_items["test"]
    evaluations = max(4, min(EVALUATIONS, steps // 8))

    def items(share: float, fewest: int, most: int) -> int:
        """Return the samples that take this share of the training time, but at least ``fewest`` batches."""
        affordable = int(share * steps / eval_cost * task.eval_size)
        return max(1, min(most, max(fewest * task.eval_size, affordable)))

    longer = sum(task.longer) or 1.0
    return Final(
        steps=steps,
        evaluations=evaluations,
        curve_items=items(0.03 / evaluations, 1, valid),
        valid_items=valid if everything else items(0.04, 2, valid),
        test_items=test if everything else items(0.14, 8, test),
        length_items=max(1, test // 4) if everything else items(0.06 / longer, 1, test),
    )


def run_seconds(task: TaskPlan, final: Final, calibration: Calibration, done: int = 0) -> float:
    """Return the seconds that a full run still takes after ``done`` steps, evaluations included."""
    part = 1 - done / final.steps
    evaluated = part * final.evaluations * final.curve_items
    starts = START_SECONDS * (1 + part * (len(LEGS) + 2))
    steps = (final.steps - done) * calibration.step_seconds
    return (
        starts
        + steps
        + evaluated / task.eval_size * calibration.eval_seconds
        + score_seconds(task, final, calibration)
    )


def score_seconds(task: TaskPlan, final: Final, calibration: Calibration) -> float:
    """Return the seconds to evaluate a trained run."""
    evaluated = final.valid_items + final.test_items + final.length_items * sum(task.longer)
    return evaluated / task.eval_size * calibration.eval_seconds


def refit_seconds(task: TaskPlan, speeds: Speeds, steps: int) -> float:
    """Return the seconds to set aside for the winner's training on all data, which may be the slowest candidate."""
    if not task.refits:
        return 0.0
    slowest = max((speed.step_seconds for speed in speeds.values()), default=0.0)
    return REFIT_SECONDS + steps * slowest


def decide_refit(plan: Plan, task: TaskPlan, refit: Refit, step_seconds: float, elapsed: float) -> None:
    """Fill in the winner's training on all data, with the reason against it where too little time is left.

    Args:
        step_seconds: of the winner.
    """
    if task.refit is None and task.refits:
        needed = REFIT_SECONDS + refit.steps * step_seconds
        left = TOLERATED * plan.granted.amount - (elapsed - plan.since) - plan.closing
        if plan.granted.kind == "seconds" and needed > left:
            refit.problem = (
                f"that takes about {max(1, round(needed))} s, and {max(0, round(left))} s of the budget were "
                "left"
            )
        task.refit = refit


def search_seconds(task: TaskPlan, rounds: Rounds, calibration: Calibration, seeds: int) -> float:
    """Return the seconds of a candidate's search with the usual number of runs."""
    evaluation = rounds.valid_items / task.eval_size * calibration.eval_seconds + START_SECONDS
    (first, second), more = USUAL_RUNS, 2 * (seeds - 1) if rounds.by_seed else 0
    pairs = zip((first, second + more), rounds.steps, strict=True)
    return sum(runs * (steps * calibration.step_seconds + evaluation) for runs, steps in pairs)


def eval_cost(speeds: Speeds) -> float:
    """Return the time of an evaluated batch in training steps, the median over candidates."""
    return median(c.eval_seconds / c.step_seconds for c in speeds.values())


def rounds_for(task: TaskPlan, steps: int, cost: float, *, everything: bool) -> Rounds:
    """Decide the rounds of the search for full runs of ``steps`` steps.

    Args:
        cost: time of an evaluated batch, in training steps.
        everything: evaluate all validation samples, so that the decision depends on no measured speed.
    """
    first, second = (
        max(least, math.ceil(share * steps)) for least, share in zip(SHORTEST, ROUNDS, strict=True)
    )
    affordable = task.split_items["valid"] if everything else int(0.2 * first / cost * task.eval_size)
    items = min(task.split_items["valid"], max(2 * task.eval_size, affordable))
    return Rounds(steps=(first, second), valid_items=items)


def goal(plan: Plan, task: TaskPlan) -> int | None:
    """Return the steps of the full runs that the budget prescribes, or None for a budget of time."""
    fixed = plan.granted.steps(task.tokens)
    return None if fixed is None else task.trained + fixed


def solve_steps(
    plan: Plan,
    task: TaskPlan,
    speeds: Speeds,
    seconds: float,
    *,
    done: int = 0,
    search: bool = False,
    running: Running | None = None,
) -> int:
    """Return the most steps of a run at which the rest of a task fits into ``seconds`` of wall-clock time.

    Args:
        done: steps of the full runs that are trained already.
        search: the search for learning rates is still to be run.
        running: full runs that are still trained, by candidate; by default all. The others are only scored.
    """
    cost, seeds = eval_cost(speeds), len(plan.seeds)
    running = running if running is not None else dict.fromkeys(speeds, seeds)

    def total(steps: int) -> float:
        final = final_for(task, steps, cost, everything=False)
        work = 0.0
        for name, speed in speeds.items():
            work += running[name] * run_seconds(task, final, speed, done)
            work += (seeds - running[name]) * score_seconds(task, final, speed)
        if search:
            rounds = rounds_for(task, steps, cost, everything=False)
            work += sum(search_seconds(task, rounds, speed, seeds) for speed in speeds.values())
        return work / plan.workers * IMBALANCE + refit_seconds(task, speeds, steps)

    low = high = max(done + 1, 1 if done else FEWEST_STEPS)
    while total(high) <= seconds and high < 10**8:
        low, high = high, high * 2
    while high - low > max(1, low // 100):
        middle = (low + high) // 2
        low, high = (middle, high) if total(middle) <= seconds else (low, middle)
    return low


def time_left(plan: Plan, elapsed: float, measuring: float = 1.0) -> float:
    """Return the seconds left for training, after setting time aside for measuring costs and for the report.

    Args:
        elapsed: seconds since the start of the comparison.
        measuring: share of the planned time for measuring costs.
    """
    others = 0 if plan.more else sum(len(task.buildable) for task in plan.tasks)
    gone = elapsed - plan.since
    return plan.granted.amount - gone - measuring * others * plan.measure_seconds - plan.closing


def closing_seconds(wall: float, worked: float) -> float:
    """Return the seconds to set aside for the end, from the wall and processor seconds used so far."""
    return CLOSING_SECONDS * min(SLOWEST, max(1.0, wall / max(worked, 1e-3)))


def check_start(plan: Plan, elapsed: float) -> None:
    """Check that the budget leaves time to train after the start, which took ``elapsed`` seconds.

    Raises:
        ValueError: if it does not.
    """
    starting = STARTING_SECONDS * plan.slowness
    _check_budget(plan, elapsed + starting, elapsed + starting + plan.closing)


def check_fits(plan: Plan, speeds: Mapping[str, Speeds], elapsed: float) -> None:
    """Check that the shortest runs fit into the rest of the budget.

    Raises:
        ValueError: if they do not.
    """
    least = 0.0
    for task in plan.tasks:
        known = speeds.get(task.name)
        if known and task.rounds is None:
            cost = eval_cost(known)
            rounds = rounds_for(task, FEWEST_STEPS, cost, everything=False)
            final = final_for(task, FEWEST_STEPS, cost, everything=False)
            for speed in known.values():
                runs = len(task.learning_rates)
                least += runs * rounds.steps[0] * speed.step_seconds / plan.workers
                least += len(plan.seeds) * run_seconds(task, final, speed) / plan.workers
                least += MEASURED_STEPS * speed.step_seconds
    if least:
        gone = elapsed - plan.since
        _check_budget(plan, gone, gone + least + plan.closing)


def _check_budget(plan: Plan, gone: float, least: float) -> None:
    budget = plan.granted
    if budget.kind == "seconds" and least > TOLERATED * budget.amount:
        granted = plan.more[-1].budget if plan.more else plan.budget
        raise ValueError(
            f"{option('more' if plan.more else 'budget')}: {granted} is too short on this machine as busy as it "
            f"is: starting takes {gone:.0f}s of it and the shortest runs the rest; about "
            f"{propose_time(SPARE * least)[0]} would do"
        )


def seconds_for(plan: Plan, task: TaskPlan, elapsed: float, measuring: float = 1.0) -> float:
    """Return the seconds left for the training of a task: its share of those of :func:`time_left`."""
    return time_left(plan, elapsed, measuring) * task.share / sum(other.share for other in plan.tasks)


def decide_search(plan: Plan, speeds: Mapping[str, Speeds], elapsed: float) -> None:
    """Fill in the ``rounds`` of every task."""
    for task in plan.tasks:
        known = speeds.get(task.name)
        if task.rounds is not None or not known:
            continue
        share = seconds_for(plan, task, elapsed)
        steps = goal(plan, task) or solve_steps(plan, task, known, share, search=True)
        everything = goal(plan, task) is not None
        task.rounds = rounds_for(task, steps, eval_cost(known), everything=everything)
        task.rounds.strides = dict(task.strides)


def is_late(plan: Plan, elapsed: float) -> bool:
    """Return True if the search for learning rates has used up its share of the budget."""
    return plan.granted.kind == "seconds" and elapsed - plan.since > SEARCH_SHARE * plan.granted.amount


def is_trained(task: TaskPlan) -> bool:
    """Return True if the last planned leg ends the full runs."""
    return bool(task.legs) and task.legs[-1].is_last and task.legs[-1].planned > task.trained


def decide_leg(
    plan: Plan, task: TaskPlan, speeds: Speeds, elapsed: float, running: Running | None = None
) -> None:
    """Add the next leg of the full runs to the plan, from the budget that is left after the last one.

    ``running`` are the full runs that are still trained, by candidate; by default all.
    """
    last = task.legs[-1] if task.legs else None
    running = running if running is not None else dict.fromkeys(speeds, len(plan.seeds))
    steps = _length(plan, task, speeds, elapsed, running)
    schedule = whole(steps) if last is None else changed(last.schedule, last.steps, steps)
    fixed = goal(plan, task) is not None
    final = final_for(task, steps, USUAL_EVAL_COST if fixed else eval_cost(speeds), everything=False)
    every = max(1, steps // final.evaluations)
    if last is not None and steps < 2 * last.planned:
        every = last.every
    items = last.curve_items if last is not None else final.curve_items  # the best point is chosen on them
    end = steps
    pace = sum(running[name] * speed.step_seconds for name, speed in speeds.items()) / plan.workers
    begin, fall = (last.steps if last else 0), round(top(schedule))
    shares = () if fixed else LEGS
    for step in sorted({*(round(share * steps) for share in shares), fall, steps}):
        if step > begin and (step in (fall, steps) or (step - begin) * pace >= SHORTEST_LEG * plan.slowness):
            end = step
            break
    task.legs.append(Leg(steps=end, schedule=schedule, every=every, curve_items=items))


def _length(plan: Plan, task: TaskPlan, speeds: Speeds, elapsed: float, running: Running) -> int:
    """Return the steps of the full runs, by what is known so far."""
    fixed, last = goal(plan, task), task.legs[-1] if task.legs else None
    if fixed is not None:
        return fixed
    if last is not None and last.planned > task.trained and not any(running.values()):
        return last.planned  # all runs are over

    def solved(measuring: float) -> int:
        seconds, done = seconds_for(plan, task, elapsed, measuring), last.steps if last else 0
        return solve_steps(plan, task, speeds, seconds, done=done, running=running)

    steps = min(solved(1.0), _longest(task))
    if last is None or last.planned <= task.trained:  # nothing is planned yet
        return max(steps, task.trained + 1)
    if steps < last.planned:
        steps = min(last.planned, solved(LEAST_MEASURING))
    if last.steps > top(last.schedule):  # the learning rate is falling: the run can only become shorter
        steps = min(steps, last.planned)
    elif abs(steps / last.planned - 1) < 0.05:
        steps = last.planned
    return max(steps, task.trained + 1, last.steps + 1)


def _longest(task: TaskPlan) -> int:
    """Return the most steps of a run for which the search for learning rates holds."""
    assert task.rounds is not None
    return round(SEARCHED_FOR * max(task.rounds.steps[1] / ROUNDS[1], task.trained))


def decide_final(plan: Plan, speeds: Mapping[str, Speeds], elapsed: float) -> None:
    """Fill in the ``final`` of every task whose runs are trained; if time is short, fewer samples are evaluated."""
    for task in plan.tasks:
        known = speeds.get(task.name)
        if task.final is not None or not known or not task.legs:
            continue
        everything = goal(plan, task) is not None
        final = final_for(task, task.legs[-1].planned, eval_cost(known), everything=everything)
        if not everything:
            left = seconds_for(plan, task, elapsed, LEAST_MEASURING)
            left -= refit_seconds(task, known, final.steps)
            needed = sum(len(plan.seeds) * score_seconds(task, final, speed) for speed in known.values())
            share = min(1.0, max(0.0, left) / max(1e-9, needed / plan.workers * IMBALANCE))
            for name, most in (("valid_items", "valid"), ("test_items", "test"), ("length_items", "test")):
                least = min(task.eval_size, task.split_items[most], getattr(final, name))
                setattr(final, name, max(least, int(share * getattr(final, name))))
        task.final = final


def decide_measuring(plan: Plan, speeds: Mapping[str, Speeds], elapsed: float) -> None:
    """Fill in the time for measuring the costs of one candidate."""
    if plan.measuring is None:
        everyone = sum(len(task.buildable) for task in plan.tasks) or 1
        kept = sum(
            refit_seconds(task, speeds[task.name], task.final.steps) for task in plan.tasks if task.final
        )
        left = (time_left(plan, elapsed, 0.0) - kept) / everyone
        most = plan.measure_seconds
        timed = plan.granted.kind == "seconds"
        plan.measuring = max(LEAST_MEASURING * most, min(most, left)) if timed else most
