"""Budgets are read as they are meant, and what is planned fits into them."""

from __future__ import annotations

import pytest

from anyformer.compare.plan import (
    Budget,
    Calibration,
    Plan,
    PlannedCandidate,
    TaskPlan,
    decide_final,
    decide_search,
    default_batch_size,
    default_parameters,
    eval_steps,
    run_seconds,
    search_seconds,
)


@pytest.mark.parametrize(
    "text, kind, amount",
    [
        ("60s", "seconds", 60),
        ("10m", "seconds", 600),
        ("2h", "seconds", 7200),
        ("1.5 hours", "seconds", 5400),
        (90, "seconds", 90),
        ("500 steps", "steps", 500),
        ("10k steps", "steps", 10_000),
        ("1M tokens", "tokens", 10**6),
        ("2,000 tokens", "tokens", 2000),
    ],
)
def test_budgets(text, kind, amount):
    assert Budget.parse(text) == Budget(kind, amount)


@pytest.mark.parametrize(
    "text", ["", "fast", "10", "10 parsecs", "s", "1e3s", "1..2s", "5ks", None, True, "10s 5s"]
)
def test_not_budgets(text):
    with pytest.raises(ValueError, match="budget: expected a time"):
        Budget.parse(text)


@pytest.mark.parametrize("text", ["-5s", "0s", "-1 steps", -3, "0 tokens"])
def test_budgets_that_are_not_positive(text):
    with pytest.raises(ValueError, match="budget must be positive, got"):
        Budget.parse(text)


def make_plan(budget: str, tasks: int = 1, workers: int = 2) -> Plan:
    candidates = [PlannedCandidate(name=name, given=name, parameters=1, width=8) for name in "abcd"]
    task_plans = [
        TaskPlan(
            name=f"t{i}",
            source=f"t{i}",
            candidates=candidates,
            batch_size=32,
            eval_size=32,
            tokens=2048,
            learning_rates=[5e-3, 1e-2, 2e-3],
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


def calibrations(plan: Plan, step: float) -> dict[str, dict[str, Calibration]]:
    speeds = {
        name: Calibration(step_seconds=step * f, eval_seconds=step * f / 3)
        for f, name in enumerate("abcd", 1)
    }
    return {task.name: speeds for task in plan.tasks}


@pytest.mark.parametrize("tasks", [1, 2])
@pytest.mark.parametrize("budget, step", [("60s", 0.01), ("10m", 0.02), ("2h", 0.5)])
def test_a_time_budget_is_used_and_kept(budget, step, tasks):
    plan = make_plan(budget, tasks)
    parsed, known = Budget.parse(budget), calibrations(plan, step)
    decide_search(plan, parsed, known, elapsed=5.0)
    work = 0.0
    for task in plan.tasks:
        assert task.rounds is not None
        work += sum(search_seconds(task, task.rounds, c) for c in known[task.name].values())
    elapsed = 5.0 + work / plan.workers
    decide_final(plan, parsed, known, elapsed=elapsed)
    for task in plan.tasks:
        assert task.final is not None and task.rounds is not None
        assert task.final.steps > task.rounds.steps[1] > task.rounds.steps[0]
        elapsed += 3 * sum(run_seconds(task, task.final, c) for c in known[task.name].values()) / plan.workers
    elapsed += plan.measure_seconds * 4 * tasks
    assert 0.75 * parsed.amount < elapsed <= parsed.amount


def test_evaluation_on_the_way_is_a_small_part():
    plan = make_plan("10m")
    known = calibrations(plan, 0.01)
    decide_search(plan, Budget.parse("10m"), known, 5.0)
    decide_final(plan, Budget.parse("10m"), known, 60.0)
    final = plan.tasks[0].final
    assert final is not None
    assert final.evaluations * final.curve_items / 32 / 3 <= 0.05 * final.steps


def test_decisions_are_made_once(tmp_path):
    plan = make_plan("60s")
    decide_search(plan, Budget.parse("60s"), calibrations(plan, 0.01), 5.0)
    plan.save(tmp_path)
    again = Plan.load(tmp_path)
    decide_search(again, Budget.parse("60s"), calibrations(plan, 0.5), 30.0)
    assert again == plan


@pytest.mark.parametrize("budget, steps", [("500 steps", 500), ("1M tokens", 488)])
def test_steps_and_tokens_are_taken_at_their_word(budget, steps):
    plan = make_plan(budget)
    decide_search(plan, Budget.parse(budget), calibrations(plan, 10.0), 0.0)
    decide_final(plan, Budget.parse(budget), calibrations(plan, 10.0), 0.0)
    final = plan.tasks[0].final
    assert final is not None
    assert final.steps == steps
    assert final.test_items == 1024, "without a clock, everything is evaluated"


def test_a_short_budget_is_said_to_be_short():
    plan = make_plan("1s")
    decide_final(plan, Budget.parse("1s"), calibrations(plan, 1.0), 0.0)
    assert "too short" in plan.tasks[0].remarks[0]


def test_fewer_tokens_than_a_step():
    plan = make_plan("100 tokens")
    with pytest.raises(ValueError, match="less than one step of 2048 tokens"):
        decide_search(plan, Budget.parse("100 tokens"), calibrations(plan, 1.0), 0.0)


def test_no_plan(tmp_path):
    with pytest.raises(ValueError, match="holds no comparison to resume"):
        Plan.load(tmp_path)


@pytest.mark.parametrize("steps, evaluations", [(100, 10), (7, 4), (1, 4)])
def test_the_last_step_is_evaluated(steps, evaluations):
    looks = eval_steps(steps, evaluations)
    assert looks[-1] == steps
    assert looks[0] >= 1
    assert len(looks) <= evaluations


def test_sizes_are_round_and_grow_with_the_budget():
    sizes = [default_parameters(Budget.parse(text), 16, 2048) for text in ("30s", "10m", "2h", "48h")]
    assert sizes == sorted(sizes)
    assert sizes[0] < sizes[-1]
    assert default_batch_size(64) == 32
    assert default_batch_size(256) == 16
    assert default_batch_size(100_000) == 4
