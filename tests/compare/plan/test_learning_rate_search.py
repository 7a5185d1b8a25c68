"""The search climbs until its best has a worse rung on either side, wherever that is, and no further."""

from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path

import pytest
from fakes import Valley, in_process
from hypothesis import given, settings
from hypothesis import strategies as st

from anyformer.compare.plan import learning_rate_search as ladder
from anyformer.compare.plan.allocation import ROUNDS, decide_search
from anyformer.compare.plan.learning_rate_search import (
    RUNGS,
    best_of,
    contenders,
    next_long,
    next_short,
    rates_of_seeds,
    start_for,
)
from anyformer.compare.plan.schema import Plan, PlannedCandidate, TaskPlan
from anyformer.compare.run.scheduler import Scheduler
from anyformer.compare.run.unit_files import RESULT

BUDGET = "500 steps"
SEEDS = [0, 1, 2]


def make_plan(*names: str, parameters: int = 100_000) -> Plan:
    task = TaskPlan(
        name="t",
        source="t",
        candidates=[PlannedCandidate(name=name, given=name) for name in names],
        batch_size=8,
        eval_size=8,
        tokens=80,
        learning_rates=start_for(parameters),
        split_items={"valid": 64, "test": 64},
    )
    return Plan(created="", budget=BUDGET, hold="parameters", seeds=SEEDS, workers=1, threads=1, tasks=[task])


def searched(plan: Plan, folder: Path, executor: Valley) -> Scheduler:
    """The search of a comparison, in this process."""
    scheduler = Scheduler(plan, folder, executor, {}, {})
    with pytest.MonkeyPatch.context() as patch:
        in_process(patch)
        patch.setattr("anyformer.compare.run.scheduler.system_load", lambda: 0.0)
        patch.setattr(Scheduler, "train", lambda self: None)
        patch.setattr(Scheduler, "score", lambda self: None)
        patch.setattr(Scheduler, "measure", lambda self: None)
        scheduler.run()
    return scheduler


def nearest(rate: float) -> float:
    return min(RUNGS, key=lambda rung: abs(math.log(rung / rate)))


def test_rungs_are_about_twice_as_high_each():
    assert RUNGS[0] <= 1e-4 and RUNGS[-1] >= 1e-1
    assert all(1.9 < high / low < 2.6 for low, high in pairwise(RUNGS))
    for parameters in (10**4, 10**7, 10**9):
        middle, above, below = (RUNGS.index(rate) for rate in start_for(parameters))
        assert (above, below) == (middle + 1, middle - 1)


@settings(derandomize=True, max_examples=200)
@given(
    st.floats(math.log(2e-6), math.log(5.0)),
    st.floats(math.log(0.5), math.log(20.0)),
    st.sampled_from([10**4, 10**7, 10**9]),
    st.sampled_from([math.inf, 1.0, 0.02, 1e-3]),
)
def test_the_lowest_loss_is_found_wherever_it_is(lowest, shift, parameters, bears):
    """``shift``: how much higher a rate short runs favour."""

    def loss(rate: float, optimum: float) -> float | None:
        return (math.log(rate) - optimum) ** 2 if rate <= bears else None

    short = {rate: loss(rate, lowest + shift) for rate in start_for(parameters)}
    while (rate := next_short(short)) is not None:
        assert rate in RUNGS and rate not in short
        short[rate] = loss(rate, lowest + shift)
    long = {rate: loss(rate, lowest) for rate in contenders(short)}
    while (rate := next_long(short, long)) is not None:
        assert rate in RUNGS and rate not in long
        long[rate] = loss(rate, lowest)
    borne = [rate for rate in RUNGS if rate <= bears]
    best = min(borne, key=lambda rate: abs(math.log(rate) - lowest))
    if shift >= 0 or best == borne[-1]:  # what the longer runs favour is never above what short ones do
        assert best_of(long)[0] == best
    place = RUNGS.index(best_of(long)[0])
    around = {RUNGS[i] for i in (place - 1, place + 1) if 0 <= i < len(RUNGS)}
    assert around <= {*short, *long}, "the best has an untried neighbour"


@settings(derandomize=True, max_examples=100)
@given(st.dictionaries(st.sampled_from(RUNGS), st.one_of(st.none(), st.floats(0, 3), st.just(math.nan))))
def test_any_losses_come_to_an_end(drawn):
    short = {rate: drawn.get(rate, 1.0) for rate in start_for(1)}
    while (rate := next_short(short)) is not None:
        short[rate] = drawn.get(rate, 1.0)
    long = {rate: drawn.get(rate, 1.0) for rate in contenders(short)}
    while long and (rate := next_long(short, long)) is not None:
        long[rate] = drawn.get(rate, 1.0)
    assert len(short) <= len(RUNGS) and len(long) <= len(RUNGS)


def test_equal_losses_end_the_search_at_once():
    """A model that learns nothing is no reason to climb to an end of the ladder."""
    assert next_short(dict.fromkeys(start_for(10**5), 0.7)) is None
    assert contenders(dict.fromkeys(start_for(10**5), 0.7))[0] == start_for(10**5)[0]


def test_the_page_about_comparisons_says_so():
    page = " ".join(Path(__file__).parents[3].joinpath("docs/compare.md").read_text(encoding="utf-8").split())
    assert f"from {RUNGS[0]:g} to {RUNGS[-1]:g}" in page
    assert f"{ROUNDS[0]:.0%} of the steps of a full run" in page
    assert f"longer runs ({ROUNDS[1]:.0%})" in page


@pytest.mark.parametrize("lowest", [1e-6, 0.2, 30.0])
def test_the_search_of_a_comparison(tmp_path, lowest):
    plan = make_plan("near", "far")
    scheduler = searched(plan, tmp_path, Valley({"near": 5e-3, "far": lowest}))
    found = scheduler.found["t"]
    assert found.rates == {"near": dict.fromkeys(SEEDS, 5e-3), "far": dict.fromkeys(SEEDS, nearest(lowest))}
    tried = {run.learning_rate for run in found.search["far"]}
    assert ladder.place_of(found.rates["far"][0], tried) == {1e-6: "lowest", 30.0: "highest"}.get(
        lowest, "inside"
    )
    assert plan.tasks[0].trials["far"].rates == [found.rates["far"][0]] * len(SEEDS)
    near = [run for run in found.search["near"] if run.steps == plan.tasks[0].rounds.steps[0]]
    assert len(near) == 3, "a candidate whose best is inside waits for nobody else"


def test_short_runs_that_favour_high_rates_do_not_decide(tmp_path):
    plan = make_plan("a")
    decide_search(plan, {}, 0.0)
    scheduler = searched(plan, tmp_path, Valley({"a": 1e-3}, shift=10.0, shift_below=50))
    assert scheduler.found["t"].rates["a"] == dict.fromkeys(SEEDS, 1e-3)
    steps = {run.learning_rate: run.steps for run in scheduler.found["t"].search["a"]}
    assert steps[1e-3] > 50 and steps[5e-4] > 50, "the neighbour below is tried for longer too"


def test_rates_between_which_seeds_do_not_agree_are_used_in_turn(tmp_path):
    """What the search takes for the best is in part chance, which intervals over seeds must contain."""

    class Lucky(Valley):
        def execute(self, unit, folder, heartbeat):
            found = super().execute(unit, folder, heartbeat)
            lucky = unit.seed == 2 and unit.learning_rate == 1e-2
            return found.model_copy(update={"loss": -1.0}) if lucky else found

    plan = make_plan("a")
    scheduler = searched(plan, tmp_path, Lucky({"a": 5e-3}))
    trials = plan.tasks[0].trials["a"]
    assert trials.again == [5e-3, 1e-2] and trials.rates == [1e-2, 5e-3, 1e-2]
    assert scheduler.found["t"].rates["a"] == dict(zip(SEEDS, trials.rates))
    others = [run for run in scheduler.found["t"].search["a"] if run.seed is not None]
    assert [(run.seed, run.learning_rate) for run in others] == [(1, 5e-3), (1, 1e-2), (2, 5e-3), (2, 1e-2)]
    assert {run.steps for run in others} == {plan.tasks[0].rounds.steps[1]}


def test_the_rates_of_seeds():
    clear = [{1e-3: 1.0 + 0.01 * seed, 2e-3: 1.5 + 0.02 * seed} for seed in range(3)]
    assert rates_of_seeds([1e-3, 2e-3], clear) == [1e-3] * 3
    noisy = [{1e-3: 1.0, 2e-3: 1.1}, {1e-3: 1.0, 2e-3: 0.8}, {1e-3: 1.0, 2e-3: 1.05}]
    assert rates_of_seeds([1e-3, 2e-3], noisy) == [2e-3, 1e-3, 2e-3]
    failed = [*noisy[:2], {1e-3: 1.0, 2e-3: None}]
    assert rates_of_seeds([2e-3, 1e-3], failed) == [1e-3] * 3
    assert rates_of_seeds([2e-3, 1e-3], [{1e-3: None, 2e-3: math.nan}] * 3) == [2e-3] * 3
    assert rates_of_seeds([1e-3, 2e-3], [dict.fromkeys((1e-3, 2e-3), 1.0)] * 3) == [1e-3, 2e-3, 1e-3]


def test_seeds_do_not_choose_where_that_takes_longer_than_the_full_run(tmp_path):
    plan = make_plan("a")
    plan.budget = "60 steps"
    found = searched(plan, tmp_path, Valley({"a": 5e-3})).found["t"]
    assert plan.tasks[0].rounds.steps[1] == 16 and not plan.tasks[0].trials["a"].again
    assert found.rates["a"] == dict.fromkeys(SEEDS, 5e-3)


def test_a_search_that_is_cut_short_has_one_rate_for_all_seeds(tmp_path):
    plan = make_plan("a")
    plan.search_cut = True
    found = searched(plan, tmp_path, Valley({"a": 5e-3})).found["t"]
    assert found.rates["a"] == dict.fromkeys(SEEDS, 5e-3) and all(
        run.seed is None for run in found.search["a"]
    )


def test_rates_that_diverge_end_the_way_up(tmp_path):
    found = searched(make_plan("a", "b"), tmp_path, Valley({"a": 1.0, "b": 1e-5}, bears=0.02)).found["t"]
    assert found.rates == {"a": dict.fromkeys(SEEDS, 0.02), "b": dict.fromkeys(SEEDS, 1e-5)}
    assert not found.failures
    assert {run.learning_rate for run in found.search["a"] if run.loss is None} == {0.05}


def test_a_candidate_that_always_diverges_has_failed(tmp_path):
    found = searched(make_plan("a"), tmp_path, Valley({"a": 1.0}, bears=1e-9)).found["t"]
    assert found.failures["a"] == ("diverged", "the loss was nan; every learning rate failed")
    assert len(found.search["a"]) == RUNGS.index(start_for(100_000)[1]) + 1


class Stops(Valley):
    """Is interrupted after some units, without having done the last one."""

    left = 0

    def execute(self, unit, folder, heartbeat):
        if self.left == 0:
            raise KeyboardInterrupt
        self.left -= 1
        return super().execute(unit, folder, heartbeat)


def test_stopped_anywhere_it_goes_on_with_the_same_units(tmp_path):
    executor = Valley({"a": 0.2, "b": 3e-5}, shift=4.0, shift_below=50)
    whole = make_plan("a", "b")
    scheduler = searched(whole, tmp_path / "whole", executor)
    units = {path.name for path in (tmp_path / "whole" / "units").iterdir()}
    folder = tmp_path / "parts"
    make_plan("a", "b").save(folder)
    interruptions = 0
    while True:
        stops = Stops(executor.lowest, executor.shift, executor.shift_below)
        stops.left = 2
        plan = Plan.load(folder)
        try:
            parts = searched(plan, folder, stops)
            break
        except KeyboardInterrupt:
            interruptions += 1
    assert interruptions > 5
    assert {path.parent.name for path in (folder / "units").glob(f"*/{RESULT}")} == units
    assert plan == whole
    assert parts.found["t"].search == scheduler.found["t"].search


def test_a_round_that_was_complete_is_not_cut_short_by_going_on_later(tmp_path):
    executor = Valley({"a": 5e-3})
    plan = make_plan("a")
    plan.budget = "1000s"
    rates = searched(plan, tmp_path, executor).plan.tasks[0].trials["a"].rates
    assert not plan.search_cut and plan.tasks[0].trials["a"].again
    last = next((tmp_path / "units").glob(f"*search*seed2*/{RESULT}"))
    last.unlink()
    (tmp_path / "clock.json").write_text("900")
    later = Plan.load(tmp_path)
    assert searched(later, tmp_path, executor).plan.tasks[0].trials["a"].rates == rates
    assert not later.search_cut and last.exists()
