"""Figures as people read them."""

from __future__ import annotations

import math

import pytest

from anyformer.compare.results import CandidateResult, EarlyStop, Sample, SeedRun
from anyformer.compare.results.formats import (
    amount,
    best_steps,
    count,
    duration,
    ending_of,
    format_scores,
    join,
    metric_title,
    rate,
    score_with_unit,
    size,
    tick,
)
from anyformer.metrics import MetricInfo

POWER = MetricInfo(name="mae", higher_is_better=False, unit="kW")


@pytest.mark.parametrize(
    "value, text",
    [
        (None, "–"),
        (math.nan, "–"),
        (0.0, "0"),
        (0.00012345, "0.000123"),
        (0.000012345, "1.23e-05"),
        (-1.2345, "-1.23"),
        (1234.5, "1,234"),
        (12345678.0, "1.23e+07"),
    ],
)
def test_amounts_have_three_digits(value: float | None, text: str) -> None:
    assert amount(value) == text


@pytest.mark.parametrize(
    "value, text",
    [(999, "999"), (1000, "1.00k"), (12_345, "12.3k"), (4_560_000, "4.56M"), (math.inf, "–"), (None, "–")],
)
def test_rates_have_a_prefix(value: float | None, text: str) -> None:
    assert rate(value) == text


def test_counts_and_sizes() -> None:
    assert (count(None), count(50), count(1_500_000)) == ("–", "50", "1.50M")
    assert (size(512), size(1024), size(1.5 * 2**20)) == ("512 B", "1.00 KiB", "1.50 MiB")
    assert (tick("1.00 MiB"), tick("1.50 MiB"), tick("100"), tick("1.0e-05")) == (
        "1 MiB",
        "1.5 MiB",
        "100",
        "1.0e-05",
    )


@pytest.mark.parametrize(
    "seconds, text",
    [(0.44, "0.4 s"), (42, "42 s"), (99.9, "100 s"), (200, "3 min 20 s"), (7500, "2 h 5 min"), (None, "–")],
)
def test_durations(seconds: float | None, text: str) -> None:
    assert duration(seconds) == text


def test_scores_have_the_same_decimals() -> None:
    assert format_scores(POWER, [123.456, 0.5, -0.001]) == ["123.5", "0.5", "0.0"]
    assert format_scores(POWER, [math.nan, 0.12345]) == ["–", "0.1235"]
    assert format_scores(POWER.model_copy(update={"places": 2}), [1.0, 2.345]) == ["1.00", "2.35"]
    assert metric_title(POWER) == "mae (kW)" and score_with_unit(POWER, 1.0) == "1.000 kW"


def test_names_are_joined_in_words() -> None:
    assert [join("abc"[:n]) for n in range(4)] == ["", "a", "a and b", "a, b and c"]


@pytest.mark.parametrize(
    "runs, text",
    [
        ([(900, 900)] * 3, ""),
        ([(None, None)] * 3, ""),  # results of earlier versions
        ([(300, 900)] * 3, "best at step 300 of 900"),
        ([(300, 900), (600, 900), (900, 900)], "best at steps 300 to 600 of 900 in 2 of 3 runs"),
        ([(300, 900), (900, 900), (900, 900)], "best at step 300 of 900 in 1 of 3 runs"),
        ([(225, 450), (300, 600), (300, 900)], "best at steps 225 to 300 of 900, and not trained beyond "),
    ],
)
def test_which_weights_count(runs: list[tuple[int | None, int | None]], text: str) -> None:
    made = [
        SeedRun(seed=i, test=Sample(score=1.0), best_step=best, steps=steps)
        for i, (best, steps) in enumerate(runs)
    ]
    found = best_steps(made, 900)
    assert found == (f"{text}steps 450 to 600" if "beyond" in text else text)


def test_how_the_training_of_a_candidate_ended() -> None:
    runs = [SeedRun(seed=i, test=Sample(score=1.0), best_step=200, steps=300) for i in range(3)]
    early = EarlyStop(steps=300, behind=0.1, best="b")
    stopped = CandidateResult(name="a", given="a", runs=runs, stopped=early)
    told = "stopped at step 300 of 900, too far behind; best at step 200 of 300"
    assert ending_of(stopped, 900) == told
    assert ending_of(CandidateResult(name="a", given="a"), 900) == ""
