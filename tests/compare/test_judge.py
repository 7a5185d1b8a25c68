"""The judge must not find a winner where there is none, and must find one where there is."""

from __future__ import annotations

import math

import numpy as np
import pytest

from anyformer.compare.judge import Row, contrasts, difference, estimate, holm, judge
from anyformer.compare.results import (
    CandidateResult,
    Costs,
    MetricFacts,
    ReferenceResult,
    Sample,
    SeedRun,
)

ACCURACY = MetricFacts(name="accuracy", higher_is_better=True, best=1.0)
ERROR = MetricFacts(name="error", higher_is_better=False, unit="kW")


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
    a = Row("a", tuple(sample(hard + e) for e in (0.0, 0.001, 0.002)))
    b = Row("b", tuple(sample(hard - 0.1 + e) for e in (0.0, 0.001, 0.002)))
    assert estimate(a).error > 0.05
    assert difference(a, b).error < 0.002


def test_interval_and_p_agree():
    rng = np.random.default_rng(3)
    for _ in range(50):
        rows = [Row(str(i), tuple(Sample(score=s) for s in rng.normal(i * 0.3, 0.2, 4))) for i in range(4)]
        for found in contrasts([(rows[3], row) for row in rows[:3]], higher_is_better=True):
            assert (found.low > 0 or found.high < 0) == (found.p < 0.05)
            assert found.low <= found.difference <= found.high


def test_holm():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([]) == []


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


@pytest.mark.parametrize("score", [0.9, 0.95])
def test_a_reference_that_is_not_beaten(score):
    found = [simple("a", 0.88, 0.9, 0.92), simple("b", 0.5, 0.5, 0.51)]
    references = [
        ReferenceResult(name="majority", test=Sample(score=0.4)),
        ReferenceResult(name="linear", test=Sample(score=score)),
    ]
    board, verdict = judge(ACCURACY, found, references)
    assert verdict.kind == "no_model_needed"
    assert verdict.winner is None
    assert "No sequence model is needed" in verdict.headline and "linear" in verdict.headline
    assert {row.name for row in board if row.kind == "reference"} == {"majority", "linear"}


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
