"""The judge must not find a winner where there is none, and must find one where there is."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anyformer.compare.results import (
    CandidateResult,
    Costs,
    ReferenceResult,
    Sample,
    SeedRun,
)
from anyformer.compare.verdict.confidence_intervals import Estimate, ScoredEntry, difference, estimate
from anyformer.compare.verdict.judge import judge
from anyformer.metrics import MetricInfo

ACCURACY = MetricInfo(name="accuracy", higher_is_better=True, best=1.0)


ERROR = MetricInfo(name="error", higher_is_better=False, unit="kW")


def sample(values, weight: float = 10.0) -> Sample:
    """A score from per-group means, all groups weighing the same."""
    values = np.atleast_1d(np.asarray(values, dtype=float))
    return Sample(score=float(values.mean()), sums=list(values * weight), weights=[weight] * len(values))


def candidate(name: str, samples, **costs) -> CandidateResult:
    runs = [SeedRun(seed=seed, test=s) for seed, s in enumerate(samples)]
    return CandidateResult(name=name, given=name, runs=runs, costs=Costs(**costs))


def simple(name: str, *scores: float, **costs) -> CandidateResult:
    return candidate(name, [Sample(score=score) for score in scores], **costs)


def simulate(rng, *, arms: int, seeds: int, groups: int, seed_sd: float, item_sd: float, noise_sd: float):
    """Candidates that are all equally good: what differs is luck with seeds and with the test items."""
    shared = rng.normal(0, item_sd, groups)
    found = []
    for arm in range(arms):
        own = rng.normal(0, noise_sd, groups)  # some items suit this arm better, by luck of the draw
        values = [
            0.5 + rng.normal(0, seed_sd) + shared + own + rng.normal(0, noise_sd, groups)
            for _ in range(seeds)
        ]
        found.append(candidate(f"arm{arm}", [sample(v) for v in values]))
    return found


@pytest.mark.parametrize("metric", [ACCURACY, ERROR], ids=["higher", "lower"])
@pytest.mark.parametrize(
    "arms, seeds, seed_sd, noise_sd",
    [(2, 3, 0.02, 0.0), (2, 3, 0.0, 0.05), (2, 3, 0.01, 0.05), (2, 10, 0.01, 0.05), (5, 3, 0.02, 0.02)],
)
def test_equals_rarely_yield_a_winner(metric, arms, seeds, seed_sd, noise_sd):
    rng = np.random.default_rng(0)
    repetitions = 1000
    wins = 0
    for _ in range(repetitions):
        found = simulate(
            rng, arms=arms, seeds=seeds, groups=24, seed_sd=seed_sd, item_sd=0.1, noise_sd=noise_sd
        )
        wins += judge(metric, found, [])[1].kind == "winner"
    # 5% nominal; the margin is two standard errors of the simulation.
    assert wins / repetitions <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / repetitions)


def test_a_real_difference_is_found():
    rng = np.random.default_rng(1)
    wins = 0
    for _ in range(200):
        found = simulate(rng, arms=2, seeds=3, groups=24, seed_sd=0.01, item_sd=0.1, noise_sd=0.01)
        found[1] = candidate("arm1", [sample(np.asarray(r.test.sums) / 10 + 0.08) for r in found[1].runs])
        verdict = judge(ACCURACY, found, [])[1]
        wins += verdict.kind == "winner" and verdict.winner == "arm1"
    assert wins >= 180


def test_exactly_equal_scores_tie():
    board, verdict = judge(ACCURACY, [simple("a", 0.7, 0.7, 0.7), simple("b", 0.7, 0.7, 0.7)], [])
    assert verdict.kind == "too_close"
    assert verdict.tied == ["a", "b"]
    assert verdict.contrasts[0].p == 1.0
    assert all(row.low == pytest.approx(row.high) for row in board)
    varied = [simple("a", 0.6, 0.7, 0.8), simple("b", 0.6, 0.7, 0.8)]
    assert judge(ACCURACY, varied, [])[1].kind == "too_close"


def right(count: int, of: int) -> Sample:
    """So many items right, the first ones."""
    return Sample(score=count / of, sums=[float(i < count) for i in range(of)], weights=[1.0] * of)


def spanned(row) -> tuple[float, float]:
    return round(row.low, 3), round(row.high, 3)


class TestFewItems:
    """Small tests and bounded metrics: what is not known is said, and nothing impossible."""

    @pytest.mark.parametrize("items", [3, 8, 30, 300])
    def test_all_right_is_not_certain(self, items: int) -> None:
        board, verdict = judge(ACCURACY, [candidate("a", [right(items, items)] * 3)], [])
        assert board[0].high == 1.0
        wilson = items / (items + 1.96**2)
        assert board[0].low == pytest.approx(wilson, abs=1.4 / items)
        assert board[0].low < 1 - 1 / items, "one more wrong would not surprise"

    def test_intervals_are_possible(self) -> None:
        rng = np.random.default_rng(0)
        for _ in range(100):
            items = int(rng.integers(2, 12))
            scores = rng.integers(0, items + 1, 2)
            found = [candidate(n, [right(int(s), items)] * 3) for n, s in zip("ab", scores, strict=True)]
            board, verdict = judge(ACCURACY, found, [])
            assert all(0 <= row.low <= row.score <= row.high <= 1 for row in board)
            assert all(-1 <= c.low <= c.difference <= c.high <= 1 for c in verdict.contrasts)
        board, _ = judge(MetricInfo(name="MAE", higher_is_better=False, best=0.0), found, [])
        assert all(0 <= row.low <= row.score for row in board)

    @pytest.mark.parametrize("items, told", [(3, False), (5, False), (8, True)])
    def test_all_right_against_all_wrong(self, items: int, told: bool) -> None:
        """As sure as a sign test: that five items all fall one way has a chance of 6%, eight of 0.8%."""
        found = [candidate("a", [right(items, items)] * 3), candidate("b", [right(0, items)] * 3)]
        assert (judge(ACCURACY, found, [])[1].kind == "winner") is told
        found = [
            candidate("a", [sample(np.ones(items))] * 3),
            candidate("b", [sample(2 * np.ones(items))] * 3),
        ]
        assert (judge(ERROR, found, [])[1].kind == "winner") is told

    def test_one_more_right_of_eight_is_nothing(self) -> None:
        found = [candidate("a", [right(8, 8)] * 3), candidate("b", [right(7, 8)] * 3)]
        board, verdict = judge(ACCURACY, found, [])
        assert verdict.kind == "too_close" and verdict.contrasts[0].low < -0.1
        assert all(row.tied_with_best for row in board)

    def test_thirty_items_in_two_groups(self) -> None:
        """Two clusters tell next to nothing, and no interval leaves what is possible."""
        a = [Sample(score=0.8, sums=[13.0, 11.0], weights=[15.0, 15.0])] * 3
        b = [Sample(score=0.6, sums=[12.0, 6.0], weights=[15.0, 15.0])] * 3
        board, verdict = judge(ACCURACY, [candidate("a", a), candidate("b", b)], [])
        assert verdict.kind == "too_close"
        assert -1 <= verdict.contrasts[0].low <= verdict.contrasts[0].high <= 1
        assert all(0 <= row.low <= row.high <= 1 for row in board)
        assert "only 2 independent samples" in " ".join(verdict.details)

    def test_one_batch_tells_nothing(self) -> None:
        """The variance over items cannot vanish because there is one piece of evidence."""
        found = [
            candidate(name, [Sample(score=s, sums=[32 * s], weights=[32.0]) for s in (score, score, score)])
            for name, score in (("a", 0.9), ("b", 0.5))
        ]
        reference = ReferenceResult(name="majority", test=Sample(score=0.4, sums=[12.8], weights=[32.0]))
        board, verdict = judge(ACCURACY, found, [reference])
        assert verdict.kind == "too_close" and "cannot be told from the reference" in verdict.headline
        assert "no difference can be told from chance" in " ".join(verdict.details)
        assert {spanned(row) for row in board} == {(0.0, 1.0)}
        assert all(row.tied_with_best for row in board)

    def test_an_overweight_cluster_counts_as_one(self) -> None:
        """A hundred light clusters beside one that holds nearly all the weight."""
        weights = np.array([1.0] * 100 + [10_000.0])
        rng = np.random.default_rng(0)
        found = []
        for name, score in (("a", 0.8), ("b", 0.6)):
            sums = np.append(rng.normal(0.7, 0.2, 100), score) * weights
            one = Sample(score=sums.sum() / weights.sum(), sums=list(sums), weights=list(weights))
            found.append(candidate(name, [one] * 3))
        assert judge(ACCURACY, found, [])[1].kind == "too_close"


def test_chance_is_not_counted_twice() -> None:
    """What seeds and items share (each run errs on other items) enters once: the error is that of all draws."""
    rng = np.random.default_rng(0)
    errors, gaps = [], []
    for _ in range(400):
        rows = [ScoredEntry(n, tuple(sample(rng.normal(0.5, 0.1, 40)) for _ in range(5))) for n in "ab"]
        errors.append(difference(*rows).error)
        gaps.append(difference(*rows).mean)
    assert np.mean(errors) == pytest.approx(np.std(gaps), rel=0.2), "twice would be 1.4 times as much"


def test_results_of_earlier_versions_are_judged_as_they_are() -> None:
    """They hold groups of neighbouring batches as pieces, and bare numbers by length."""
    run = SeedRun.model_validate({"seed": 0, "test": {"score": 0.5}, "by_length": {"128": 0.25}})
    assert run.by_length[128].score == 0.25 and run.by_length[128].sums == []


def test_no_variance_and_a_clear_difference():
    _, verdict = judge(ACCURACY, [simple("a", 0.7, 0.7, 0.7), simple("b", 1.0, 1.0, 1.0)], [])
    assert (verdict.kind, verdict.winner) == ("winner", "b")


def test_round_off_is_not_evidence():
    _, verdict = judge(ACCURACY, [simple("a", *[0.7] * 3), simple("b", *[0.7 + 1e-12] * 3)], [])
    assert verdict.kind == "too_close"


def test_one_seed_cannot_name_a_winner():
    _, verdict = judge(ACCURACY, [simple("a", 0.1), simple("b", 0.9)], [])
    assert verdict.kind == "too_close"


def test_lower_is_better():
    found = [simple("a", 1.0, 1.01, 1.02), simple("b", 2.0, 2.01, 2.02)]
    board, verdict = judge(ERROR, found, [])
    assert (verdict.kind, verdict.winner) == ("winner", "a")
    assert [row.name for row in board] == ["a", "b"]
    assert verdict.contrasts[0].difference > 0
    assert "kW" in verdict.headline


def test_shared_hard_items_cancel():
    """Items that are hard for both widen each score's interval, not that of the difference."""
    hard = np.linspace(0, 1, 20)
    a = ScoredEntry("a", tuple(sample(hard + e) for e in (0.0, 0.001, 0.002)))
    b = ScoredEntry("b", tuple(sample(hard - 0.1 + e) for e in (0.0, 0.001, 0.002)))
    assert estimate(a).error > 0.05
    assert difference(a, b).error < 0.002


@settings(derandomize=True, max_examples=300, deadline=None)
@given(
    st.floats(0, 100),
    st.lists(st.tuples(st.floats(1e-12, 1e3), st.floats(1, 1e4)), min_size=1, max_size=2),
    st.floats(0, 1),
)
def test_the_interval_at_the_level_of_p_touches_zero(far, parts, shrunk) -> None:
    """However small p is and whatever the degrees of freedom."""
    e = Estimate(far, tuple(parts), far * shrunk)
    assert 0 <= e.p <= 1
    if 1e-11 < e.p < 1:
        near_one = 1e-6 * e.error  # where p is all but 1, its last digit is worth 1e-8 errors
        assert e.reach(e.p) == pytest.approx(e.centre, rel=1e-4, abs=near_one)
    elif e.p == 1:
        assert e.reach(0.999) >= e.centre * (1 - 1e-3)


def test_a_tied_group_names_the_cheapest():
    found = [
        simple("slow", 0.9, 0.91, 0.92, train_tokens_per_second=100.0, token_latency_ms=5.0),
        simple("quick", 0.905, 0.915, 0.9, train_tokens_per_second=900.0, token_latency_ms=9.0),
        simple("bad", 0.1, 0.11, 0.12, train_tokens_per_second=9000.0),
    ]
    _, verdict = judge(ACCURACY, found, [])
    assert verdict.kind == "too_close"
    assert set(verdict.tied) == {"slow", "quick"}
    assert "cheapest of them to train is quick" in verdict.details[0]
    assert "slow streams fastest" in verdict.details[0]
    assert "bad" in verdict.details[1]


def test_a_reference_that_is_better() -> None:
    found = [simple("a", 0.88, 0.9, 0.92), simple("b", 0.5, 0.5, 0.51)]
    references = [
        ReferenceResult(name="majority", test=Sample(score=0.4)),
        ReferenceResult(name="linear", test=Sample(score=0.97)),
    ]
    board, verdict = judge(ACCURACY, found, references)
    assert verdict.kind == "no_model_needed"
    assert verdict.winner is None
    assert "No sequence model is needed" in verdict.headline and "linear" in verdict.headline
    assert "is better than every candidate" in verdict.headline
    assert {row.name for row in board if row.kind == "reference"} == {"majority", "linear"}


def test_a_reference_is_only_better_than_every_candidate_if_each_is_behind() -> None:
    """The best one is behind it beyond doubt; another one, whose seeds differ much, may be as good."""
    found = [simple("a", 0.899, 0.9, 0.901), simple("b", 0.84, 0.9, 0.95)]
    reference = ReferenceResult(name="linear", test=Sample(score=0.97))
    _, verdict = judge(ACCURACY, found, [reference])
    assert "is better than every candidate" not in verdict.headline


def test_a_reference_as_good_as_any_candidate_needs_narrow_intervals() -> None:
    """That no model is needed is a statement of its own: it takes evidence, not a lack of it."""
    reference = ReferenceResult(name="linear", test=Sample(score=0.9))
    _, verdict = judge(ACCURACY, [simple("a", 0.899, 0.9, 0.901)], [reference])
    assert verdict.kind == "no_model_needed" and "is as good as every candidate" in verdict.headline
    assert verdict.details[0].startswith("The best candidate, a, scores 0.900, as linear does (95% interval")
    _, verdict = judge(ACCURACY, [simple("a", 0.88, 0.9, 0.92), simple("b", 0.5, 0.5, 0.51)], [reference])
    assert verdict.kind == "too_close" and verdict.tied == ["a"]
    assert "a cannot be told from the reference “linear”" in verdict.headline
    _, verdict = judge(ACCURACY, [simple("a", 0.85, 0.86, 0.87), simple("b", 0.4, 0.9, 0.95)], [reference])
    assert verdict.tied == ["b"], "the best is behind, but the erratic one may be ahead"
    assert verdict.details[0].startswith("b scores 0.750, behind linear by 0.150 (95% interval")


def test_a_reference_is_beaten_by_whoever_beats_it():
    """The best candidate is too erratic to be sure of anything; the second beats the reference beyond doubt."""
    found = [simple("erratic", 0.4, 0.9, 0.6), simple("steady", 0.5, 0.51, 0.5)]
    _, verdict = judge(ACCURACY, found, [ReferenceResult(name="majority", test=Sample(score=0.4))])
    assert verdict.kind == "too_close"
    assert any("steady beats it" in text for text in verdict.details)


def test_a_reference_that_is_beaten_is_named():
    found = [simple("a", 0.88, 0.9, 0.92)]
    _, verdict = judge(ACCURACY, found, [ReferenceResult(name="majority", test=Sample(score=0.4))])
    assert verdict.kind == "single"
    assert "beats every reference" in verdict.headline


class TestTiedWithBest:
    """Set where a row cannot be told from the best one, whichever kind that is."""

    def test_a_better_reference_ties_with_nobody(self) -> None:
        found = [simple("a", 0.6, 0.61, 0.6), simple("b", 0.5, 0.5, 0.51)]
        board, _ = judge(ACCURACY, found, [ReferenceResult(name="linear", test=Sample(score=0.9))])
        assert not any(row.tied_with_best for row in board)

    def test_an_unbeaten_reference_ties_with_the_best(self) -> None:
        found = [simple("a", 0.88, 0.9, 0.92), simple("b", 0.5, 0.5, 0.51)]
        board, _ = judge(ACCURACY, found, [ReferenceResult(name="linear", test=Sample(score=0.89))])
        assert [(row.name, row.tied_with_best) for row in board] == [
            ("a", True),
            ("linear", True),
            ("b", False),
        ]

    def test_a_name_shared_with_a_reference(self) -> None:
        found = [simple("linear", 0.5, 0.5, 0.51), simple("a", 0.9, 0.91, 0.92), simple("b", 0.9, 0.9, 0.92)]
        board, _ = judge(ACCURACY, found, [ReferenceResult(name="linear", test=Sample(score=0.4))])
        assert [row.name for row in board if row.tied_with_best] == ["a", "b"]

    def test_a_reference_that_only_an_erratic_leader_cannot_pass(self) -> None:
        """The second candidate beats it, so that it is not the best; of the leader nothing can be told."""
        found = [simple("erratic", 0.4, 0.9, 0.6), simple("steady", 0.5, 0.51, 0.5)]
        board, _ = judge(ACCURACY, found, [ReferenceResult(name="majority", test=Sample(score=0.4))])
        assert [row.name for row in board if row.tied_with_best] == ["erratic", "steady"]

    def test_who_is_outside_the_limits_ties_with_nobody(self) -> None:
        found = [simple("large", 0.9, 0.91, 0.92), simple("a", 0.9, 0.9, 0.92), simple("b", 0.5, 0.5, 0.51)]
        found[0].outside = ["20 MiB saved"]
        board, verdict = judge(ACCURACY, found, [])
        assert verdict.winner == "a" and not any(row.tied_with_best for row in board)


def test_failures_are_mentioned_and_left_out():
    broken = CandidateResult(name="broken", given="broken", status="diverged", reason="loss is NaN")
    board, verdict = judge(ACCURACY, [broken, simple("a", 0.9, 0.9, 0.91), simple("b", 0.1, 0.1, 0.12)], [])
    assert verdict.winner == "a"
    assert all(row.name != "broken" for row in board)
    assert any("broken" in text for text in verdict.details)
    assert judge(ACCURACY, [broken], [])[1].kind == "nothing"


@pytest.mark.parametrize("metric", [ACCURACY, ERROR], ids=["higher", "lower"])
def test_a_difference_too_small_to_matter_is_a_tie(metric):
    """Both are all but perfect: three seeds that hardly differ make a gap of 0.0004 look certain."""
    close = [simple("a", 0.9999, 0.9998, 0.9999), simple("b", 0.9995, 0.9994, 0.9995)]
    assert judge(metric, close, [])[1].kind == "too_close"
    apart = [simple("a", 0.9999, 0.9998, 0.9999), simple("b", 0.9895, 0.9894, 0.9895)]
    assert judge(metric, apart, [])[1].kind == "winner"
