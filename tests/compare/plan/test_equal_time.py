"""All candidates have the same time, whatever their speed; who is too slow for that is left out or waited for."""

from __future__ import annotations

from itertools import pairwise

import pytest

from anyformer.compare.plan.equal_time import FEW, decide_strides, of_planned_steps
from anyformer.compare.plan.schema import Calibration, Leg, Plan, PlannedCandidate, Rounds, TaskPlan
from anyformer.train.schedule import agree, changed, top, whole

STEP = {"fast": 0.01, "slow": 0.5, "slower": 1.0}


def speeds(**steps: float) -> dict[str, Calibration]:
    return {name: Calibration(step_seconds=step, eval_seconds=step / 3) for name, step in steps.items()}


def make_plan(budget: str = "180s", *, by_default: bool = True, **changes) -> Plan:
    task = TaskPlan(
        name="t",
        source="t",
        candidates=[PlannedCandidate(name=name, given=name) for name in STEP],
        batch_size=8,
        eval_size=8,
        tokens=80,
        learning_rates=[1e-3, 2e-3, 5e-4],
        split_items={"valid": 64, "test": 64},
        by_default=by_default,
    )
    given = {"created": "", "hold": "parameters", "seeds": [0, 1, 2], "workers": 1, "threads": 1, **changes}
    return Plan(budget=budget, tasks=[task], **given)


def decided(plan: Plan, known: dict[str, Calibration]) -> tuple[dict[str, float], list[str]]:
    """Return the strides, rounded, and the candidates that were left out."""
    decide_strides(plan, {"t": known}, 1.0)
    task = plan.tasks[0]
    return {n: round(s, 3) for n, s in task.strides.items()}, [c.name for c in task.candidates if c.slow]


def test_all_have_the_time_of_the_slowest():
    plan = make_plan("2h")
    assert decided(plan, speeds(**STEP)) == ({"fast": 100.0, "slow": 2.0, "slower": 1.0}, [])
    task = plan.tasks[0]
    assert {s.step_seconds for s in of_planned_steps(task, speeds(**STEP)).values()} == {1.0}
    assert [task.steps_of(name, 30) for name in STEP] == [3000, 60, 30]
    assert task.steps_of("unknown", 30) == 30


def test_who_is_too_slow_is_left_out_if_nobody_named_it():
    plan = make_plan()
    assert decided(plan, speeds(**STEP)) == ({"fast": 1.0}, ["slow", "slower"])
    words = plan.tasks[0].candidates[1].slow
    assert words == (
        f"too slow for the budget: it would take fewer than {FEW} steps in the time that each candidate has. models "
        "compares it all the same"
    )
    assert decided(make_plan(), dict(zip(STEP, reversed(speeds(**STEP).values()))))[1] == [], (
        "the first stays"
    )


def test_those_that_were_named_wait_for_the_slowest():
    strides, left_out = decided(make_plan(by_default=False), speeds(**STEP))
    assert left_out == [] and set(strides.values()) == {1.0}, "there is time for equal steps alone"
    strides, left_out = decided(make_plan("9m", by_default=False), speeds(**STEP))
    assert left_out == [] and 1 <= strides["slow"] < strides["fast"] < 100 and strides["slower"] == 1.0


@pytest.mark.parametrize("changes", [{"budget": "500 steps"}, {"equal": "steps"}])
def test_steps_are_equal_where_that_is_asked_for(changes):
    assert decided(make_plan(**changes), speeds(**STEP)) == ({}, [])


def test_what_is_decided_stays():
    """After the search nobody is left out, and after the first leg the steps of all are fixed."""
    plan = make_plan()
    plan.tasks[0].rounds = Rounds(steps=(8, 16), valid_items=64)
    assert decided(plan, speeds(**STEP)) == ({"fast": 1.0, "slow": 1.0, "slower": 1.0}, [])
    plan.tasks[0].legs = [Leg(steps=9, schedule=whole(30), every=9, curve_items=9)]
    assert decided(plan, speeds(fast=1.0, slow=1.0)) == ({"fast": 1.0, "slow": 1.0, "slower": 1.0}, [])


def test_the_search_keeps_its_own_steps():
    rounds = Rounds(steps=(8, 20), valid_items=64, strides={"fast": 2.6})
    assert rounds.steps_of("fast") == (20, 52) and rounds.steps_of("slow") == (8, 20)


@pytest.mark.parametrize("stride", [1.0, 1.37, 2.0, 33.3])
def test_legs_of_a_fast_candidate_go_on_from_each_other(stride):
    """Its own schedules agree up to where a leg ends, also where the end of the run is moved as the rate falls."""
    schedules = [whole(100)]
    ends = [30, 55, 75, 85, 93]
    for at, planned in zip(ends, (100, 120, 110, 105, 104), strict=True):
        schedules.append(changed(schedules[-1], at, planned))
    legs = [
        Leg(steps=steps, schedule=schedule, every=8, curve_items=9).times(stride)
        for steps, schedule in zip([*ends, 104], schedules, strict=True)
    ]
    for leg, after in pairwise(legs):
        assert leg.steps < after.steps and agree(leg.schedule, after.schedule, leg.steps)
    assert legs[-1].is_last and not legs[0].is_last and legs[-1].planned == int(stride * 104)
    assert [leg.steps <= top(legs[-1].schedule) for leg in legs] == [
        steps <= top(schedules[-1]) for steps in [*ends, 104]
    ]
