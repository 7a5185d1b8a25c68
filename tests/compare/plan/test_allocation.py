"""What is planned fits into the budget, and goes on fitting when the machine's speed changes."""

from __future__ import annotations

import pytest
from fakes import Machine
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from anyformer.compare.plan.allocation import (
    CLOSING_SECONDS,
    ROUNDS,
    SHORTEST_LEG,
    check_start,
    closing_seconds,
    decide_final,
    decide_leg,
    decide_search,
    final_for,
    is_trained,
    run_seconds,
    search_seconds,
)
from anyformer.compare.plan.budget import Budget
from anyformer.compare.plan.learning_rate_search import start_for
from anyformer.compare.plan.more import extend_plan
from anyformer.compare.plan.schema import Calibration, More, Plan, PlannedCandidate, TaskPlan
from anyformer.compare.results import EarlyStop
from anyformer.train.schedule import LOWEST, top, whole

NAMES = "abcd"


def make_plan(budget: str, tasks: int = 1, workers: int = 2, names: str = NAMES) -> Plan:
    candidates = [PlannedCandidate(name=name, given=name, parameters=1, width=8) for name in names]
    task_plans = [
        TaskPlan(
            name=f"t{i}",
            source=f"t{i}",
            candidates=candidates,
            batch_size=32,
            eval_size=32,
            tokens=2048,
            learning_rates=start_for(10**5),
            split_items={"valid": 512, "test": 1024},
            longer=[2.0, 4.0],
        )
        for i in range(tasks)
    ]
    return Plan(
        created="now",
        budget=budget,
        hold="parameters",
        seeds=[0, 1, 2],
        workers=workers,
        threads=1,
        tasks=task_plans,
    )


def speeds(plan: Plan, step: float) -> dict[str, dict[str, Calibration]]:
    known = {
        name: Calibration(step_seconds=step * f, eval_seconds=step * f / 3) for f, name in enumerate(NAMES, 1)
    }
    return {task.name: known for task in plan.tasks}


def train(plan: Plan, known: dict[str, dict[str, Calibration]], elapsed: float) -> None:
    """All legs, in no time."""
    for task in plan.tasks:
        while not is_trained(task):
            decide_leg(plan, task, known[task.name], elapsed)


@pytest.mark.parametrize("tasks", [1, 2])
@pytest.mark.parametrize("budget, step", [("60s", 0.01), ("10m", 0.02), ("2h", 0.5)])
def test_a_time_budget_is_used_and_kept(budget, step, tasks):
    plan = make_plan(budget, tasks)
    known = speeds(plan, step)
    decide_search(plan, known, elapsed=5.0)
    work = 0.0
    for task in plan.tasks:
        assert task.rounds is not None
        work += sum(search_seconds(task, task.rounds, c, len(plan.seeds)) for c in known[task.name].values())
    elapsed = 5.0 + work / plan.workers
    for task in plan.tasks:
        decide_leg(plan, task, known[task.name], elapsed)
        steps = task.legs[0].planned
        assert task.rounds is not None
        assert steps > task.rounds.steps[1] > task.rounds.steps[0]
        final = final_for(task, steps, 1 / 3, everything=False)
        elapsed += 3 * sum(run_seconds(task, final, c) for c in known[task.name].values()) / plan.workers
    elapsed += plan.measure_seconds * 4 * tasks
    assert 0.75 * Budget.parse(budget).amount < elapsed <= Budget.parse(budget).amount


def test_evaluation_on_the_way_is_a_small_part():
    plan = make_plan("10m")
    known = speeds(plan, 0.01)
    decide_search(plan, known, 5.0)
    decide_leg(plan, plan.tasks[0], known["t0"], 60.0)
    leg = plan.tasks[0].legs[0]
    assert leg.planned / leg.every * leg.curve_items / 32 / 3 <= 0.05 * leg.planned


def test_decisions_are_made_once(tmp_path):
    plan = make_plan("60s")
    decide_search(plan, speeds(plan, 0.01), 5.0)
    decide_leg(plan, plan.tasks[0], speeds(plan, 0.01)["t0"], 5.0)
    plan.save(tmp_path)
    again = Plan.load(tmp_path)
    decide_search(again, speeds(plan, 0.5), 30.0)
    assert again == plan


@pytest.mark.parametrize(
    "budget, steps", [("500 steps", 500), ("1M tokens", 488), ("1 steps", 1), ("2 steps", 2)]
)
def test_steps_and_tokens_are_taken_at_their_word(budget, steps):
    plan = make_plan(budget)
    known = speeds(plan, 10.0)
    decide_search(plan, known, 0.0)
    train(plan, known, 0.0)
    decide_final(plan, known, 0.0)
    task = plan.tasks[0]
    assert task.final is not None and task.final.steps == task.legs[-1].steps == steps
    assert task.final.test_items == 1024, "without a clock, everything is evaluated"
    assert task.rounds is not None and task.rounds.valid_items == 512, "and no choice depends on a speed"
    assert {leg.schedule for leg in task.legs} == {whole(steps)}


def test_fewer_tokens_than_a_step():
    plan = make_plan("100 tokens")
    with pytest.raises(ValueError, match="less than one step of 2048 tokens"):
        decide_search(plan, speeds(plan, 1.0), 0.0)


def steady(now: float) -> float:
    return 1.0


@settings(
    derandomize=True,
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    budget=st.sampled_from([60, 300]),
    change=st.floats(0.05, 1.0),
    times=st.sampled_from([1 / 3, 1.0, 1.8, 3.0]),
    back=st.floats(0.05, 1.0),
    step=st.floats(0.004, 0.03),
    workers=st.sampled_from([1, 2]),
    apart=st.sampled_from([1.0, 4.0]),
)
def test_a_budget_is_held_whatever_the_machine_does(
    tmp_path, budget, change, times, back, step, workers, apart
):
    """Steps take ``times`` as long from some moment on, and perhaps for a while only."""
    plan = make_plan(f"{budget}s", workers=workers)
    plan.save(tmp_path)
    (tmp_path / "clock.json").unlink(missing_ok=True)
    begin, end = change * budget, (change + back) * budget
    factors = (1 / 2.2**apart, 1 / 1.7**apart, 1 / 1.2**apart, 1.0)
    paces = {name: 2.2 * step * factor for name, factor in zip(NAMES, factors, strict=True)}
    machine = Machine(tmp_path, paces, lambda now: times if begin <= now < end else 1.0, workers)
    scheduler = machine.conduct(plan)
    task = plan.tasks[0]
    assert machine.now + CLOSING_SECONDS <= (1.2 if times > 2 else 1.1) * budget
    if times == 1.0:
        assert machine.now >= 0.8 * budget
        assert not plan.busy
    legs = {(unit.candidate, unit.seed): [] for unit in machine.trained}
    for unit in machine.trained:
        legs[unit.candidate, unit.seed].append((unit.steps, unit.schedule))
    for (name, _), mine in legs.items():
        assert mine == [(leg.steps, leg.schedule) for leg in task.legs_of(name)], (
            "all go through the same legs"
        )
    seconds = [mine[-1][0] * paces[name] for (name, _), mine in legs.items()]
    if task.strides["a"] > 0.99 * paces["d"] / paces["a"]:  # else all wait for the slowest
        assert max(seconds) <= min(seconds) + 2 * max(paces.values()), "in the same time"
    assert task.legs[-1].schedule[-1] == (task.final.steps, LOWEST)
    assert set(scheduler.found["t0"].runs) == set(NAMES)


@pytest.mark.parametrize("over", [{}, {"a": 3}, {"a": 3, "c": 2}])
def test_the_time_of_runs_that_are_over_goes_to_the_others(over):
    """And runs become no longer than the search for learning rates holds for."""
    plan = make_plan("10m")
    known = speeds(plan, 0.01)
    decide_search(plan, known, 5.0)
    task = plan.tasks[0]
    decide_leg(plan, task, known["t0"], 100.0)
    first, running = task.legs[0], {name: 3 - over.get(name, 0) for name in NAMES}
    elapsed = 100 + 3 * first.steps * sum(c.step_seconds for c in known["t0"].values()) / plan.workers
    decide_leg(plan, task, known["t0"], elapsed, running)
    assert (task.legs[1].planned > 1.05 * first.planned) == bool(over)
    decide_leg(plan, task, known["t0"], elapsed, dict.fromkeys(NAMES, 0) | {"a": 1})
    assert task.legs[2].planned == 4 * round(task.rounds.steps[1] / ROUNDS[1])
    decide_leg(plan, task, known["t0"], elapsed, dict.fromkeys(NAMES, 0))
    assert task.legs[3].planned == task.legs[2].planned, "nothing is left to train"


def test_a_slow_machine_is_told(tmp_path):
    plan = make_plan("60s")
    plan.save(tmp_path)
    machine = Machine(tmp_path, dict.fromkeys(NAMES, 0.01), lambda now: 2.0 if now > 25 else 1.0, 2)
    machine.conduct(plan)
    assert plan.busy.startswith(
        "The machine was busy with something else: steps took up to 2.0 times as long"
    )


@pytest.mark.parametrize("step", [0.02, 0.1, 0.5])
def test_a_budget_into_which_nothing_fits_is_refused_with_one_that_would_do(tmp_path, step):
    plan = make_plan("5s")
    plan.save(tmp_path)
    machine = Machine(tmp_path, dict.fromkeys(NAMES, step), steady, 2)
    with pytest.raises(ValueError, match=r"budget: 5s is too short .* about \d+ \w+ would do") as refused:
        machine.conduct(plan)
    assert not machine.trained
    number, unit = str(refused.value).split("about ")[1].split()[:2]
    plan = make_plan(f"{number}{unit}")
    plan.save(tmp_path)
    (tmp_path / "clock.json").unlink(missing_ok=True)
    again = Machine(tmp_path, machine.step_seconds, steady, 2)
    assert set(again.conduct(plan).found["t0"].rates) == set(NAMES)
    assert again.now + CLOSING_SECONDS <= 1.1 * plan.granted.amount


@pytest.mark.parametrize("slowness", [1.0, 5.0])
def test_no_leg_is_shorter_than_it_is_worth(slowness):
    plan = make_plan("60s")
    plan.closing *= slowness
    known = speeds(plan, 0.02)
    decide_search(plan, known, 5.0)
    train(plan, known, 35.0)
    pace = sum(speed.step_seconds for speed in known["t0"].values()) * 3 / plan.workers
    begin = 0
    for leg in plan.tasks[0].legs:
        is_end = leg.steps in (top(leg.schedule), leg.planned)
        assert is_end or (leg.steps - begin) * pace >= SHORTEST_LEG * slowness
        begin = leg.steps


def test_a_start_that_takes_the_budget_is_refused_before_any_work():
    plan = make_plan("10s")
    check_start(plan, 3.0)
    plan.closing = closing_seconds(12.0, 4.0)
    assert plan.closing == 3 * CLOSING_SECONDS
    with pytest.raises(ValueError, match="budget: 10s is too short"):
        check_start(plan, 9.0)
    assert closing_seconds(1.0, 3.0) == CLOSING_SECONDS, "several threads close no sooner"
    check_start(make_plan("5 steps"), 1e6)


@pytest.mark.parametrize(
    "budget, more", [("60s", "60s"), ("60s", "2m"), ("200 steps", "100 steps"), ("60s", "300 steps")]
)
def test_going_on_is_one_run_in_one_go(tmp_path, budget, more):
    """The legs up to where the learning rate fell are kept, and all that follow agree with them up to there."""
    plan = make_plan(budget)
    plan.save(tmp_path)
    machine = Machine(tmp_path, dict.fromkeys(NAMES, 0.01), steady, 2)
    first = machine.conduct(plan)
    task = plan.tasks[0]
    before, trunk = task.final.steps, task.goes_on_from
    assert trunk == top(task.legs[-1].schedule)
    extend_plan(plan, More(budget=more, since=machine.now, kept="results-1.json"), times=2.0)
    plan.save(tmp_path)
    begin, units = machine.now, len(machine.trained)
    (tmp_path / "clock.json").write_text(str(machine.now))
    again = Machine(tmp_path, machine.step_seconds, steady, 2, now=machine.now)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("fakes.InMemoryQueue.opened", lambda folder, url=None: (first.queue, None))
        again.conduct(plan)
    assert units and again.trained
    assert all(unit.steps > trunk for unit in again.trained), "nothing is trained twice"
    if more.endswith("steps"):
        assert task.final.steps == before + int(more.split()[0])
    else:
        assert task.final.steps > before
        assert 0.8 * Budget.parse(more).amount <= again.now - begin <= 1.1 * Budget.parse(more).amount
    knots = task.legs[-1].schedule
    assert all(leg.schedule[0] == knots[0] for leg in task.legs), "the warm-up stays"
    assert top(knots) >= trunk and knots[-1] == (task.final.steps, LOWEST)


@pytest.mark.parametrize(
    "cut, more, times, anew",
    [
        (False, "2m", 3.0, False),
        (False, "1h", 40.0, True),
        (True, "2m", 3.0, True),
        (False, "599 steps", 1.0, False),
        (False, "601 steps", 1.0, True),
    ],
)
def test_a_search_for_much_shorter_runs_is_made_anew(tmp_path, cut, more, times, anew):
    """And so is one that was cut short: short runs favour rates that long ones do not bear."""
    plan = make_plan("200 steps", workers=2)
    plan.save(tmp_path)
    Machine(tmp_path, dict.fromkeys(NAMES, 0.01), steady, 2).conduct(plan)
    task, plan.search_cut = plan.tasks[0], cut
    extend_plan(plan, More(budget=more, since=0.0, kept="results-1.json"), times=times)
    assert (task.rounds is None, not task.trials, not task.legs) == (anew,) * 3
    assert not plan.search_cut and task.trained == 200
    assert "after 200 steps" in task.remarks[-1]


@pytest.mark.parametrize("equal", ["budget", "steps"])
@pytest.mark.parametrize("budget", ["5m", "400 steps"])
def test_the_time_of_who_is_stopped_goes_to_the_others(tmp_path, budget, equal):
    """Steps of a run are stopped for nothing: nobody would get their time."""
    plan = make_plan(budget)
    plan.equal = equal
    plan.save(tmp_path)

    def stopping(leg, runs, untrained):
        assert set(runs) == {"a", "b", "c", "d"} - set(plan.tasks[0].stopped)
        assert all(len(legs) == 3 for legs in runs.values())
        rest = [name for name in "cd" if name in runs]
        return {name: EarlyStop(steps=leg.steps, behind=1.0, best="a") for name in rest[:1]}

    machine = Machine(tmp_path, dict.fromkeys(NAMES, 0.02), steady, 2, stopping=stopping)
    found = machine.conduct(plan).found["t0"]
    task = plan.tasks[0]
    ends = {name: max(u.steps for u in machine.trained if u.candidate == name) for name in NAMES}
    assert set(found.runs) == set(found.costs) == set(NAMES), "all are scored and measured"
    if budget == "400 steps" or equal == "steps":
        assert not task.stopped and set(ends.values()) == {task.final.steps}
        return
    assert {name: stop.steps for name, stop in task.stopped.items()} == {"c": ends["c"], "d": ends["d"]}
    assert ends["c"] < ends["d"] < ends["a"] == ends["b"] == task.final.steps
    assert task.final.steps > 1.3 * task.legs[0].planned
    assert machine.now + CLOSING_SECONDS <= 1.1 * plan.granted.amount
    before = list(machine.trained)
    again = Machine(tmp_path, machine.step_seconds, steady, 2, now=machine.now, stopping=stopping)
    again.conduct(Plan.load(tmp_path))
    assert again.trained and set(again.trained) <= set(before), "decisions are made once"
