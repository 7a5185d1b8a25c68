"""A verdict that the training does not support is not given; one that it does support stays."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anyformer.compare.results import (
    CandidateResult,
    Point,
    ReferenceResult,
    Sample,
    SearchRun,
    SeedRun,
    Verdict,
)
from anyformer.compare.verdict.judge import judge
from anyformer.compare.verdict.trends import trend_of
from anyformer.compare.verdict.undertrained import (
    MARGIN,
    Training,
    slowest_seconds,
    unless_undertrained,
)
from anyformer.metrics import MetricInfo

ERROR = MetricInfo(name="mae", higher_is_better=False, best=0.0)


ITEMS = 200


def sample(score: float, seed: int, spread: float = 0.05) -> Sample:
    noise = np.random.default_rng(seed).normal(0, spread, ITEMS)
    sums = score + noise - noise.mean()
    return Sample(score=float(sums.mean()), sums=list(sums), weights=[1.0] * ITEMS)


def candidate(
    name: str, curve, steps: int = 1000, seeds: float = 0.002, start: float = 3.0
) -> CandidateResult:
    """One whose whole runs of ``n`` steps end at a validation and test score of ``curve(n)``, the lower the better."""
    off = [-seeds, 0.0, seeds]
    runs = [
        SeedRun(
            seed=seed,
            test=sample(curve(steps) + off[seed], seed=7),
            valid=curve(steps) + off[seed],
            valid_loss=curve(steps) + off[seed],
            seconds=10.0,
            curve=[Point(step=steps, seconds=10.0, tokens=steps * 100, train_loss=1.0)],
        )
        for seed in range(3)
    ]
    search = [
        SearchRun(learning_rate=1e-3, steps=n, loss=curve(n), score=curve(n))
        for n in (math.ceil(0.08 * steps), math.ceil(0.2 * steps))
    ]
    return CandidateResult(
        name=name,
        given=name,
        parameters=10_000,
        learning_rate=1e-3,
        runs=runs,
        search=search,
        untrained=start,
    )


def verdict(*candidates: CandidateResult, reference: float | None = None, tokens: int = 10**8) -> Verdict:
    references = (
        [] if reference is None else [ReferenceResult(name="last value", test=sample(reference, seed=8))]
    )
    board, found = judge(ERROR, candidates, references)
    steps = candidates[0].runs[0].curve[-1].step
    training = Training(steps=steps, tokens=tokens, passes=None, workers=2)
    return unless_undertrained(found, board, ERROR, candidates, references, training)


def power(end: float, drop: float, exponent: float):
    return lambda n: end + drop * n**-exponent


def flat(value: float):
    return lambda n: value


@settings(derandomize=True, max_examples=40)
@given(st.floats(0.3, 1.0), st.floats(0.5, 3.0), st.floats(0.02, 0.6))
def test_an_unbeaten_reference_says_nothing_where_candidates_still_come_nearer(exponent, drop, share):
    """The reference lies where two further doublings of the steps would lead."""
    law = power(1.0, drop, exponent)
    reachable = law(1000) - 1.4 * (law(1000) - law(2000))
    if law(1000) - reachable < 0.02:
        return  # too flat to matter, and too near to be told apart
    found = verdict(candidate("a", law), candidate("b", lambda n: law(n) + share), reference=reachable)
    assert found.kind == "undertrained"
    far = share > law(1000) - law(8000)  # and so not waited for
    assert found.headline.startswith(
        f"Not enough training to tell: each was trained for 1,000 steps{', a' if far else ' and'} still improving"
    )
    assert "needed" not in found.headline
    assert "So far no candidate beats “last value”." in found.details
    assert found.winner is None and not found.tied
    assert found.shortage is not None and found.shortage.steps > 1000 and found.shortage.seconds > 0
    assert found.shortage.option


def test_only_what_rises_is_said_to():
    law = power(1.0, 2.0, 0.3)
    reachable = law(1000) - 1.4 * (law(1000) - law(2000))
    found = verdict(candidate("a", law), candidate("b", flat(3.0)), reference=reachable)
    assert found.headline.startswith(
        "Not enough training to tell: each was trained for 1,000 steps, a still improving"
    )
    assert not [detail for detail in found.details if detail.startswith("b:")]


def test_a_plateau_behind_a_reference_is_a_verdict():
    found = verdict(candidate("a", flat(1.0)), candidate("b", flat(1.1)), reference=0.8)
    assert found.kind == "no_model_needed"
    assert found.shortage is None
    assert [trend.gains for trend in found.trends] == [[0.0] * 3] * 2


def test_slow_growth_far_behind_a_reference_is_a_verdict():
    law = power(1.0, 0.3, 0.3)
    assert verdict(candidate("a", law), reference=0.3).kind == "no_model_needed"


def test_what_is_far_behind_another_candidate_is_not_waited_for():
    """Its loss still falls, but three doublings would not bring it to the best, which has its plateau."""
    slow = power(1.5, 12.0, 0.35)
    assert trend_of(candidate("slow", slow), ERROR).loss_falls > 0.03
    assert verdict(candidate("slow", slow), reference=0.8).kind == "undertrained"
    found = verdict(candidate("best", flat(1.0)), candidate("slow", slow), reference=0.8)
    assert found.kind == "no_model_needed"
    near = verdict(candidate("best", flat(2.5)), candidate("slow", slow), reference=0.8)
    assert near.kind == "undertrained" and "slow still improving" in near.headline


def test_what_is_not_waited_for_is_not_said_to_improve():
    """The best one is of unknown growth, and the one whose loss falls would not come near it."""
    best, far = candidate("best", flat(1.0)), candidate("other", power(1.5, 12.0, 0.35))
    for run in best.search:
        run.steps = 800
    found = verdict(best, far, reference=0.8)
    assert found.kind == "undertrained"
    assert not any("other" in text or "improving" in text for text in (found.headline, *found.details))


def test_what_is_behind_and_of_unknown_growth_is_waited_for():
    unknown = candidate("behind", flat(1.05))
    for run in unknown.search:
        run.steps = 800
    assert trend_of(unknown, ERROR).gains == []
    assert verdict(candidate("best", flat(1.0)), unknown, reference=0.8).kind == "undertrained"


def test_what_has_learned_nothing_from_few_tokens_cannot_tell():
    """A run too short to leave the first plateau, on a task that may hold what later steps would find."""
    found = verdict(candidate("a", flat(3.0)), candidate("b", flat(3.0)), reference=2.5, tokens=20_000)
    assert found.kind == "undertrained"
    assert "had hardly begun to learn" in found.headline
    assert found.shortage.steps == 10_000, "until 20 tokens for each of 10,000 parameters"
    assert verdict(candidate("a", flat(3.0)), reference=2.5, tokens=10**6).kind == "no_model_needed"


def test_full_runs_no_longer_than_those_of_the_search_tell_nothing():
    short = candidate("a", flat(1.0))
    short.search = [run.model_copy(update={"steps": 2000}) for run in short.search]
    found = verdict(short, reference=0.8)
    assert found.kind == "undertrained"
    assert "too few to see how they improve" in found.headline
    assert verdict(short, reference=5.0).kind == "single"
    short.search = [run.model_copy(update={"steps": 800}) for run in short.search]
    assert verdict(short, reference=0.8).kind == "undertrained", "nor do those that are hardly longer"


def test_a_winner_far_ahead_stays_while_all_improve():
    fast, slow = power(0.5, 3.0, 0.5), power(1.5, 3.0, 0.5)
    found = verdict(candidate("fast", fast), candidate("slow", slow), reference=5.0)
    assert (found.kind, found.winner) == ("winner", "fast")


def test_a_winner_about_to_be_overtaken_is_none():
    quick, late = power(1.0, 0.5, 1.0), power(0.5, 5.0, 0.3)
    steps = next(n for n in range(100, 10**6, 100) if 0.01 < late(n) - quick(n) < 0.05)
    found = verdict(candidate("quick", quick, steps), candidate("late", late, steps), reference=9.0)
    assert found.kind == "undertrained"
    assert "So far quick is ahead." in found.details


def test_a_tie_of_the_young_cannot_tell_and_one_of_the_grown_can():
    law = power(0.5, 20.0, 0.6)
    young = verdict(candidate("a", law, 40), candidate("b", lambda n: law(n) + 1e-4, 40), reference=9.0)
    assert young.kind == "undertrained"
    assert "So far a and b cannot be told apart." in young.details
    grown = verdict(candidate("a", law, 10**5), candidate("b", lambda n: law(n) + 1e-4, 10**5), reference=9.0)
    assert grown.kind == "too_close"


def test_one_candidate_that_beats_everything_needs_no_more():
    assert verdict(candidate("a", power(0.5, 20.0, 0.6), 40), reference=9.0).kind == "single"


@settings(derandomize=True, max_examples=40)
@given(st.lists(st.floats(0.01, 1.0), min_size=2, max_size=12))
def test_what_is_proposed_counts_with_the_slowest_stretch(paces):
    """And a margin, on a machine as busy as it was."""
    law, seconds, curve = power(1.0, 1.0, 0.3), 0.0, []
    for number, pace in enumerate(paces, 1):
        seconds += 100 * pace
        curve.append(Point(step=100 * number, seconds=seconds, tokens=1, train_loss=1.0))
    steps = curve[-1].step
    made = [candidate(name, law, steps=steps) for name in "ab"]
    for run in (run for one in made for run in one.runs):
        run.curve, run.seconds = curve, seconds
    slowest = max(paces[1:]) * steps
    assert slowest_seconds(made[0].runs[0]) == pytest.approx(max(slowest, seconds))
    found = verdict(*made, reference=law(2 * steps))
    assert found.shortage is not None
    times = found.shortage.steps / steps
    assert found.shortage.seconds >= MARGIN * 6 * max(slowest, seconds) / 2 * (times - 0.7)
    assert any("slowest stretch" in detail for detail in found.details)


def test_no_training_passes_a_reference_that_cannot_be_better():
    """A test split of one class: whatever tells it always is right, and no number of steps beats it."""
    found = verdict(candidate("a", power(0.0, 0.3, 0.3)), reference=0.0)
    assert found.kind in ("too_close", "no_model_needed")
    assert found.shortage is None


def test_a_reference_that_cannot_be_passed_decides_though_candidates_change_places():
    """One candidate is about to overtake the other; neither can be better than what is always right."""
    pair = (candidate("a", flat(0.9)), candidate("b", lambda n: 0.95 if n == 1000 else 2.5 - n / 1000))
    assert verdict(*pair, reference=3.0).kind == "undertrained"
    found = verdict(*pair, reference=0.0)
    assert found.kind == "no_model_needed" and found.shortage is None


@pytest.mark.parametrize("left", [0.5, 0.05, 0.005])
def test_a_loss_never_falls_by_more_than_all_of_it(left):
    found = verdict(candidate("a", lambda n: 3.0 - (3.0 - left) * n / 1000), reference=0.001)
    assert [0.5 < trend.loss_falls <= 1 for trend in found.trends] == [True]


def test_what_is_overfitted_gains_nothing_from_more_steps():
    rising = candidate("a", lambda steps: 10 / math.log2(steps))
    trend = trend_of(rising, ERROR)
    assert trend is not None and trend.gains[0] > 0 and trend.loss_falls > 0
    runs = [run.model_copy(update={"steps": 1000, "best_step": 600 + 200 * run.seed}) for run in rising.runs]
    overfitted = rising.model_copy(update={"runs": runs})
    trend = trend_of(overfitted, ERROR)
    assert trend is not None and trend.gains == [0.0] * 3 and trend.loss_falls == 0


def test_nothing_gains_beyond_the_best_score() -> None:
    accuracy = MetricInfo(name="accuracy", limits=(0.0, 1.0), places=3)
    perfect = candidate("perfect", lambda n: 1.0 if n == 1000 else 0.5 + n / 10_000, seeds=0.0, start=0.3)
    trend = trend_of(perfect, accuracy)
    assert trend is not None and trend.gains == [0.0] * len(trend.gains) and trend.loss_falls == 0.0
    near = candidate("near", lambda n: 0.9 if n == 1000 else 0.5 + n / 10_000, seeds=0.0, start=0.3)
    trend = trend_of(near, accuracy)
    assert trend is not None and 0 < sum(trend.gains) <= 0.1 + 1e-9
