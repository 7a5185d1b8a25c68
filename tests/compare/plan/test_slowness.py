"""Candidates that nobody named are left out where the others would wait for them; those that were named are not."""

from __future__ import annotations

import pytest
from fakes import request

from anyformer.compare.plan.schema import Calibration, Plan, PlannedCandidate, Rounds, TaskPlan
from anyformer.compare.plan.slowness import leave_out_slow

STEP = {"fast": 0.01, "slow": 1.0, "slower": 2.0}
SPEEDS = {"t": {name: Calibration(step_seconds=step, eval_seconds=step / 3) for name, step in STEP.items()}}


def make_plan(budget: str = "180s", once: float | None = 400.0, **changes) -> Plan:
    assert request(budget=budget)
    task = TaskPlan(
        name="t",
        source="t",
        candidates=[PlannedCandidate(name=name, given=name) for name in STEP],
        batch_size=8,
        eval_size=8,
        tokens=80,
        learning_rates=[1e-3, 2e-3, 5e-4],
        split_items={"valid": 64, "test": 64},
        once=once,
        by_default=True,
    )
    given = {"created": "", "hold": "parameters", "seeds": [0, 1, 2], "workers": 1, "threads": 1, **changes}
    return Plan(budget=budget, tasks=[task], **given)


def left_out(plan: Plan, speeds=SPEEDS) -> list[str]:
    leave_out_slow(plan, speeds, 1.0)
    return [c.name for c in plan.tasks[0].candidates if c.slow]


def test_the_others_do_not_wait_for_what_is_much_slower():
    plan = make_plan()
    assert left_out(plan) == ["slow", "slower"]
    assert [c.name for c in plan.tasks[0].buildable] == ["fast"]
    words = plan.tasks[0].candidates[1].slow
    assert words.startswith(
        "too slow for the budget: each run would have 20 steps with all candidates, and has 2,"
    )
    assert words.endswith(
        "without slow and slower; in 400 the training data is seen once. models compares it all the same"
    )


def test_the_first_of_them_stays_however_slow_it_is():
    turned = {"t": dict(zip(STEP, reversed(SPEEDS["t"].values())))}
    assert left_out(make_plan(), turned) == []
    without_first = {"t": {name: SPEEDS["t"][name] for name in ("slow", "slower")}}
    assert left_out(make_plan(), without_first) == ["slower"]


def test_only_as_many_are_left_out_as_that_takes():
    assert left_out(make_plan(once=20.0)) == []
    assert left_out(make_plan("1h", once=60.0)) == []
    alike = {name: Calibration(step_seconds=1.0 + i / 10, eval_seconds=0.1) for i, name in enumerate(STEP)}
    assert left_out(make_plan(), {"t": alike}) == [], "none of these takes as long as the others together"
    one = {"t": {"slower": SPEEDS["t"]["slower"]}}
    assert left_out(make_plan(), one) == []


@pytest.mark.parametrize(
    "changes",
    [{"budget": "500 steps"}, {"equal": "steps"}, {"once": None}, {"by_default": False}, {"rounds": True}],
)
def test_nothing_is_left_out_that_was_asked_for(changes):
    own = {name: value for name, value in changes.items() if name in ("by_default", "rounds")}
    plan = make_plan(**{name: value for name, value in changes.items() if name not in own})
    plan.tasks[0].by_default = own.get("by_default", True)
    plan.tasks[0].rounds = Rounds(steps=(8, 16), valid_items=64) if "rounds" in own else None
    assert left_out(plan) == []
