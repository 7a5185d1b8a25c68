"""How much is trained and evaluated, so that everything fits into the budget; each decision goes into the plan once.

Steps of the full runs
    The number is the same for all. Under a budget of time it is solved for from measured step times: to size the
    search for learning rates, and again before each leg of the full runs, from what the steps of the last one took and
    from the time that is really left. A leg is trained by all candidates and all seeds before any begins the next, so
    that wherever the time runs out, all end at the same step, with the same schedule of the learning rate.

When the machine becomes slower
    the time for measuring costs is cut first, down to a seventh; then the steps that no run has begun, the learning
    rate falling sooner; then what is evaluated. When it becomes faster, runs grow until the learning rate falls.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from statistics import median

from anyformer.compare.plan.budget import CLOSING_SECONDS, propose_time
from anyformer.compare.plan.schema import (
    Calibration,
    Final,
    Leg,
    Plan,
    Rounds,
    TaskPlan,
)
from anyformer.train.schedule import changed, top, whole

ROUNDS = (0.08, 0.2)
"""Steps of the two rounds of the search for a learning rate, as shares of a full run."""
USUAL_RUNS = (5, 3)
"""Runs of each round that time is set aside for; further ones make the full runs shorter."""
SEARCH_SHARE = 0.5
"""Of a time budget: when so much is gone, the search for learning rates ends where it is."""
FEWEST_STEPS = 20
"""A run is planned with so many; it gets fewer only when the time runs out meanwhile."""
EVALUATIONS = 12
LEGS = (0.3, 0.55, 0.85, 0.93)
"""Where legs end, as shares of a run; one ends where the learning rate begins to fall, too."""
SHORTEST_LEG = 1.0
"""Seconds; shorter legs become one. On a busy machine, where to begin one takes longer, they are longer."""
START_SECONDS = 0.1
"""To begin with a run, and to go on with it in each leg."""
LEAST_MEASURING = 0.15
IMBALANCE = 1.08
"""Workers do not all finish at once; this much is left for the last ones."""
SLOWEST = 8.0
"""So many times at most is the end expected to take what it takes undisturbed."""
STARTING_SECONDS = 1.5
"""For workers to start and to calibrate, undisturbed."""
MEASURED_STEPS = 10.0
"""Measuring costs takes about as long as so many steps, however short its time."""
TOLERATED = 1.1
"""A budget may take so many times as long as it says."""
SPARE = 1.5
"""Budgets that are proposed are so many times as long as the least."""
Speeds = Mapping[str, Calibration]
"""By candidate."""


def final_for(task: TaskPlan, steps: int, eval_cost: float, *, everything: bool) -> Final:
    """How to spend evaluations around ``steps`` steps. ``eval_cost`` is an evaluated batch in steps.

    Curves take about 3% of the training time; the rest is capped so that a run stays within 1.3 times its steps,
    unless ``everything`` is to be evaluated.
    """
    valid, test = task.split_items["valid"], task.split_items["test"]
    evaluations = max(4, min(EVALUATIONS, steps // 8))

    def items(share: float, fewest: int, most: int) -> int:
        """As many samples as take this share of the training time, at least so many batches of them."""
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
    """What is left of a full run of a candidate behind ``done`` steps, evaluations included."""
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
    """Evaluating a run when it is trained."""
    evaluated = final.valid_items + final.test_items + final.length_items * sum(task.longer)
    return evaluated / task.eval_size * calibration.eval_seconds


def search_seconds(task: TaskPlan, rounds: Rounds, calibration: Calibration) -> float:
    """The search of a candidate as it usually goes."""
    evaluation = rounds.valid_items / task.eval_size * calibration.eval_seconds + START_SECONDS
    pairs = zip(USUAL_RUNS, rounds.steps, strict=True)
    return sum(runs * (steps * calibration.step_seconds + evaluation) for runs, steps in pairs)


def eval_cost(speeds: Speeds) -> float:
    """An evaluated batch in training steps, typical of the candidates."""
    return median(c.eval_seconds / c.step_seconds for c in speeds.values())


def rounds_for(task: TaskPlan, steps: int, cost: float, *, everything: bool) -> Rounds:
    """The search that goes with runs of ``steps`` steps; with ``everything`` it does not depend on any speed."""
    first, second = (
        max(least, math.ceil(share * steps)) for least, share in zip((8, 16), ROUNDS, strict=True)
    )
    affordable = task.split_items["valid"] if everything else int(0.2 * first / cost * task.eval_size)
    items = min(task.split_items["valid"], max(2 * task.eval_size, affordable))
    return Rounds(steps=(first, second), valid_items=items)


def goal(plan: Plan, task: TaskPlan) -> int | None:
    """How many steps the full runs are to have in all, or None where time decides."""
    fixed = plan.granted.steps(task.tokens)
    return None if fixed is None else task.trained + fixed


def solve_steps(
    plan: Plan, task: TaskPlan, speeds: Speeds, seconds: float, *, done: int = 0, search: bool = False
) -> int:
    """The most steps of a run at which the rest of the task fits into ``seconds`` of wall-clock time."""
    cost = eval_cost(speeds)

    def total(steps: int) -> float:
        final = final_for(task, steps, cost, everything=False)
        work = sum(len(plan.seeds) * run_seconds(task, final, speed, done) for speed in speeds.values())
        if search:
            rounds = rounds_for(task, steps, cost, everything=False)
            work += sum(search_seconds(task, rounds, speed) for speed in speeds.values())
        return work / plan.workers * IMBALANCE

    low = high = max(done + 1, 1 if done else FEWEST_STEPS)
    while total(high) <= seconds and high < 10**8:
        low, high = high, high * 2
    while high - low > max(1, low // 100):
        middle = (low + high) // 2
        low, high = (middle, high) if total(middle) <= seconds else (low, middle)
    return low


def time_left(plan: Plan, elapsed: float, measuring: float = 1.0) -> float:
    """What is left for training when a share of the time for measuring, and that for reporting, are set aside.

    ``elapsed`` counts from the start of the comparison.
    """
    others = 0 if plan.more else sum(len(task.buildable) for task in plan.tasks)
    gone = elapsed - plan.since
    return plan.granted.amount - gone - measuring * others * plan.measure_seconds - plan.closing


def closing_seconds(wall: float, worked: float) -> float:
    """What the end will take, where ``worked`` seconds of processor time have taken ``wall`` seconds so far."""
    return CLOSING_SECONDS * min(SLOWEST, max(1.0, wall / max(worked, 1e-3)))


def check_start(plan: Plan, elapsed: float) -> None:
    """
    Raises:
        ValueError: the budget is about over before anything is trained, of which ``elapsed`` seconds are gone.
    """
    starting = STARTING_SECONDS * plan.slowness
    _check_budget(plan, elapsed + starting, elapsed + starting + plan.closing)


def check_fits(plan: Plan, speeds: Mapping[str, Speeds], elapsed: float) -> None:
    """
    Raises:
        ValueError: not even the shortest runs fit into what is left of the budget.
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
        raise ValueError(
            f"budget: {plan.more[-1].budget if plan.more else plan.budget} is too short on this machine as busy as it "
            f"is: starting takes {gone:.0f}s of it and the shortest runs the rest; about "
            f"{propose_time(SPARE * least)[0]} would do"
        )


def _portion(plan: Plan, task: TaskPlan) -> float:
    return task.share / sum(other.share for other in plan.tasks)


def decide_search(plan: Plan, speeds: Mapping[str, Speeds], elapsed: float) -> None:
    """Fills in the ``rounds`` of every task."""
    for task in plan.tasks:
        known = speeds.get(task.name)
        if task.rounds is not None or not known:
            continue
        share = time_left(plan, elapsed) * _portion(plan, task)
        steps = goal(plan, task) or solve_steps(plan, task, known, share, search=True)
        everything = goal(plan, task) is not None
        task.rounds = rounds_for(task, steps, eval_cost(known), everything=everything)


def is_late(plan: Plan, elapsed: float) -> bool:
    """Whether the search for learning rates has had its time."""
    return plan.granted.kind == "seconds" and elapsed - plan.since > SEARCH_SHARE * plan.granted.amount


def is_trained(task: TaskPlan) -> bool:
    """Whether the last leg that is planned ends the full runs."""
    return bool(task.legs) and task.legs[-1].is_last and task.legs[-1].planned > task.trained


def decide_leg(plan: Plan, task: TaskPlan, speeds: Speeds, elapsed: float) -> None:
    """Adds the next leg of the full runs, from what is left of the budget when all have come to the end of the last."""
    last = task.legs[-1] if task.legs else None
    steps = _length(plan, task, speeds, elapsed)
    schedule = whole(steps) if last is None else changed(last.schedule, last.steps, steps)
    final = final_for(task, steps, eval_cost(speeds), everything=False)
    every = max(1, steps // final.evaluations)
    if last is not None and steps < 2 * last.planned:
        every = last.every
    end = steps
    pace = sum(speed.step_seconds for speed in speeds.values()) * len(plan.seeds) / plan.workers
    begin, fall = (last.steps if last else 0), top(schedule)
    shares = () if goal(plan, task) is not None else LEGS
    for place in sorted({*(round(share * steps) for share in shares), fall, steps}):
        if place > begin and (
            place in (fall, steps) or (place - begin) * pace >= SHORTEST_LEG * plan.slowness
        ):
            end = place
            break
    task.legs.append(Leg(steps=end, schedule=schedule, every=every, curve_items=final.curve_items))


def _length(plan: Plan, task: TaskPlan, speeds: Speeds, elapsed: float) -> int:
    """Steps of the full runs, as far as can be told now."""
    fixed = goal(plan, task)
    if fixed is not None:
        return fixed

    def solved(measuring: float) -> int:
        seconds = time_left(plan, elapsed, measuring) * _portion(plan, task)
        return solve_steps(plan, task, speeds, seconds, done=task.legs[-1].steps if task.legs else 0)

    steps = solved(1.0)
    last = task.legs[-1] if task.legs else None
    if last is None or last.planned <= task.trained:  # nothing is planned yet
        return max(steps, task.trained + 1)
    if steps < last.planned:
        steps = min(last.planned, solved(LEAST_MEASURING))
    if last.steps > top(last.schedule):  # what falls can only fall sooner
        steps = min(steps, last.planned)
    elif abs(steps / last.planned - 1) < 0.05:
        steps = last.planned
    return max(steps, task.trained + 1, last.steps + 1)


def decide_final(plan: Plan, speeds: Mapping[str, Speeds], elapsed: float) -> None:
    """Fills in the ``final`` of every task whose runs are trained; what is evaluated shrinks when time is short."""
    for task in plan.tasks:
        known = speeds.get(task.name)
        if task.final is not None or not known or not task.legs:
            continue
        everything = goal(plan, task) is not None
        final = final_for(task, task.legs[-1].planned, eval_cost(known), everything=everything)
        if not everything:
            left = time_left(plan, elapsed, LEAST_MEASURING) * _portion(plan, task)
            needed = sum(len(plan.seeds) * score_seconds(task, final, speed) for speed in known.values())
            share = min(1.0, max(0.0, left) / max(1e-9, needed / plan.workers * IMBALANCE))
            for name, most in (("valid_items", "valid"), ("test_items", "test"), ("length_items", "test")):
                least = min(task.eval_size, task.split_items[most], getattr(final, name))
                setattr(final, name, max(least, int(share * getattr(final, name))))
        task.final = final


def decide_measuring(plan: Plan, elapsed: float) -> None:
    """Fills in the time for measuring the costs of one candidate."""
    if plan.measuring is None:
        everyone = sum(len(task.buildable) for task in plan.tasks) or 1
        left = (time_left(plan, elapsed, 0.0)) / everyone
        most = plan.measure_seconds
        timed = plan.granted.kind == "seconds"
        plan.measuring = max(LEAST_MEASURING * most, min(most, left)) if timed else most
