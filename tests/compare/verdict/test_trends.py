"""What more steps would bring: a power law is continued, and the interval holds what is not known."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anyformer.compare.results import CandidateResult, Point, Sample, SearchRun, SeedRun
from anyformer.compare.verdict.trends import growth, next_words, trend_of
from anyformer.metrics import MetricInfo

ERROR = MetricInfo(name="mae", higher_is_better=False, best=0.0, unit="kW")
STEPS, PIECES = 1000, 50


def power(end: float, drop: float, exponent: float):
    return lambda n: end + drop * n**-exponent


@settings(derandomize=True, max_examples=60)
@given(st.floats(0.1, 1.0), st.floats(0.5, 5.0), st.integers(50, 100_000))
def test_a_power_law_is_continued(exponent, drop, steps):
    law = power(1.0, drop, exponent)
    lengths = [(n, -law(n)) for n in (math.ceil(0.08 * steps), math.ceil(0.2 * steps), steps)]
    gains = growth(lengths)
    for number, gain in enumerate(gains):
        truth = law(steps * 2**number) - law(steps * 2 ** (number + 1))
        assert truth / 2 - 1e-9 <= gain <= truth * 2 + 1e-9
    assert growth(lengths, noise=drop) == [0.0] * len(gains), "within the noise there is no growth"


def test_lengths_that_nearly_agree_tell_no_slope():
    assert growth([(14, 0.12), (17, 0.13)]) == []
    assert max(growth([(8, 0.0), (16, 0.1), (20, 0.4)])) < 0.4


def drawn(rng: np.random.Generator, law, seeds: float = 0.01, own: float = 0.02) -> CandidateResult:
    """A candidate whose runs of n steps have the error law(n), but for the seed and the samples."""
    hard = rng.normal(0, 0.2, PIECES)

    def sample(n: int) -> Sample:
        sums = law(n) + rng.normal(0, seeds) + hard + rng.normal(0, own, PIECES)
        return Sample(score=float(sums.mean()), sums=sums.tolist(), weights=[1.0] * PIECES)

    search, runs = [], []
    for n in (STEPS // 12, STEPS // 5):
        one = sample(n)
        search.append(
            SearchRun(learning_rate=1e-3, steps=n, loss=one.score, score=one.score, valid_sample=one)
        )
    curve = [Point(step=STEPS, seconds=1.0, tokens=1, train_loss=1.0)]
    for seed in range(3):
        one = sample(STEPS)
        runs.append(SeedRun(seed=seed, test=one, valid=one.score, valid_sample=one, curve=curve))
    return CandidateResult(name="mamba", given="", learning_rate=1e-3, search=search, runs=runs)


def test_the_interval_holds_what_comes() -> None:
    """Of a power law, and of a flat one, nineteen times in twenty."""
    rng = np.random.default_rng(0)
    for law in (power(1.0, 8.0, 0.5), power(1.0, 0.0, 0.5)):
        truth, missed, draws = law(STEPS) - law(2 * STEPS), 0, 100
        for _ in range(draws):
            trend = trend_of(drawn(rng, law), ERROR)
            assert trend is not None and trend.next is not None
            gain, low, high = trend.next
            assert low <= gain <= high
            missed += not low <= truth <= high
        assert missed / draws <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / draws)


def test_growth_is_told_with_its_interval_and_noise_as_noise() -> None:
    rng = np.random.default_rng(1)
    rising = trend_of(drawn(rng, power(1.0, 8.0, 0.5), seeds=0.002, own=0.002), ERROR)
    flat = trend_of(drawn(rng, power(1.0, 0.0, 0.5)), ERROR)
    assert rising is not None and flat is not None
    said = next_words(ERROR, rising)
    found = re.search(r"its mae by about (-\S+) kW \(95% interval (-\S+) to (-\S+)\)", said)
    assert found, said
    change, low, high = map(float, found.groups())
    assert low <= change <= high < 0 and change == pytest.approx(8 * (2000**-0.5 - 1000**-0.5), rel=0.3)
    assert re.search(r"no more than noise \(95% interval -\S+ to 0\.\S+ kW\)", next_words(ERROR, flat))


def test_hard_samples_cancel() -> None:
    """All runs err on the same samples: that widens no interval."""
    trend = trend_of(drawn(np.random.default_rng(2), power(1.0, 8.0, 0.5), 0.001, 0.001), ERROR)
    assert trend is not None and trend.next is not None
    assert trend.next[2] - trend.next[1] < 0.02


def test_runs_without_common_samples_have_no_interval() -> None:
    found = drawn(np.random.default_rng(3), power(1.0, 8.0, 0.5))
    found.search[1].valid_sample = None
    trend = trend_of(found, ERROR)
    assert trend is not None and trend.next is None
    assert "interval" not in next_words(ERROR, trend) and "about -" in next_words(ERROR, trend)


def test_what_was_best_before_its_end_gains_nothing() -> None:
    found = drawn(np.random.default_rng(4), power(1.0, 8.0, 0.5))
    for run in found.runs:
        run.steps, run.best_step = STEPS, 300
    trend = trend_of(found, ERROR)
    assert trend is not None and "mamba: longer training would bring nothing" in next_words(ERROR, trend)


def test_runs_at_another_learning_rate_are_not_on_the_curve() -> None:
    """The search is continued at the rate of the first seed; what another rate does is no growth."""
    alone, mixed = (drawn(np.random.default_rng(5), power(1.0, 8.0, 0.5)) for _ in range(2))
    for found in (alone, mixed):
        for run in found.runs:
            run.learning_rate = 1e-3
    alone.runs = [alone.runs[0], alone.runs[2]]
    mixed.runs[1].learning_rate, mixed.runs[1].valid = 2e-3, 50.0
    assert trend_of(mixed, ERROR) == trend_of(alone, ERROR)
