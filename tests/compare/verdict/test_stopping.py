"""Only who is too far behind is stopped, and what is said of it is no more than was seen."""

from __future__ import annotations

import math

import numpy as np
import pytest

from anyformer.compare.plan.schema import Leg
from anyformer.compare.results import CandidateResult, EarlyStop, Point, Sample, SeedRun
from anyformer.compare.run.unit import Trained
from anyformer.compare.verdict.judge import judge
from anyformer.compare.verdict.stopping import find_stopped
from anyformer.metrics import MetricInfo
from anyformer.train.schedule import whole

ERROR = MetricInfo(name="error", higher_is_better=False, best=0.0)
ACCURACY = MetricInfo(name="accuracy", higher_is_better=True, best=1.0)
LEG = Leg(steps=600, schedule=whole(1000), every=100, curve_items=64)
PIECES = 64


def legs(rng, score: float, *, half: float | None = None, seed_sd: float = 0.01, sd: float = 0.05):
    """The leg of a candidate's three runs, whose mean scores are these at its end and at half of it."""
    found = []
    for _ in range(3):
        mine = score + rng.normal(0, seed_sd)
        sums = mine + rng.normal(0, sd, PIECES)
        valid = Sample(score=float(sums.mean()), sums=sums.tolist(), weights=[1.0] * PIECES)
        points = [(300, score if half is None else half), (600, valid.score)]
        curve = [Point(step=n, seconds=1.0, tokens=n, train_loss=1.0, valid=v) for n, v in points]
        found.append(Trained(step_seconds=1.0, seconds=1.0, curve=curve, valid=valid))
    return found


def stopped(scores: dict[str, float], untrained: float = 3.0, **options) -> dict[str, EarlyStop]:
    rng = np.random.default_rng(0)
    runs = {name: legs(rng, score, **options) for name, score in scores.items()}
    return find_stopped(ERROR, LEG, runs, dict.fromkeys(scores, untrained))


def test_who_is_far_behind_is_stopped():
    found = stopped({"a": 1.0, "b": 1.01, "c": 1.6, "d": 1.02})
    assert list(found) == ["c"]
    assert (found["c"].steps, found["c"].best) == (600, "a")
    assert found["c"].behind == pytest.approx(0.6, abs=0.05)


@pytest.mark.parametrize(
    "scores, options",
    [
        ({"a": 1.0, "b": 1.6}, {}),  # the best two go to the end
        ({"a": 1.0, "b": 1.0, "c": 1.6}, {"half": 2.2}),  # it gained as much in the last doubling
        ({"a": 1.0, "b": 1.0, "c": 1.6}, {"seed_sd": 0.5}),  # noise over seeds
        ({"a": 1.0, "b": 1.0, "c": 1.1}, {"sd": 1.0}),  # noise over samples
        ({"a": 1.0, "b": 1.0, "c": 2.9}, {}),  # it has not begun to learn
        ({"a": 1.0, "b": 1.0, "c": 1.6}, {"untrained": None}),
    ],
)
def test_others_are_not(scores, options):
    assert not stopped(scores, **options)


def test_where_one_has_jumped_others_may_jump_too():
    """Recall is learnt suddenly: from a plateau at 2.0, which the third is still on, to 0.2."""
    rng = np.random.default_rng(0)
    runs = {name: legs(rng, score, half=2.0) for name, score in {"a": 0.2, "b": 0.2, "c": 2.0}.items()}
    assert not find_stopped(ERROR, LEG, runs, dict.fromkeys(runs, 3.0))
    steady = {
        name: legs(rng, score, half=score + 0.2) for name, score in {"a": 0.2, "b": 0.2, "c": 2.0}.items()
    }
    assert list(find_stopped(ERROR, LEG, steady, dict.fromkeys(steady, 3.0))) == ["c"]


def test_without_half_a_curve_nothing_is_known():
    rng = np.random.default_rng(0)
    runs = {name: legs(rng, score) for name, score in {"a": 1.0, "b": 1.0, "c": 1.6}.items()}
    for found in runs["c"]:
        del found.curve[0]
    assert not find_stopped(ERROR, LEG, runs, dict.fromkeys(runs, 3.0))


def test_equals_are_rarely_stopped():
    """With curves that have ended, in three decisions."""
    rng, wrong, draws = np.random.default_rng(1), 0, 300
    for _ in range(draws):
        for _ in range(3):
            runs = {name: legs(rng, 1.0, half=1.1) for name in "abcd"}
            if find_stopped(ERROR, LEG, runs, dict.fromkeys(runs, 3.0)):
                wrong += 1
                break
    assert wrong / draws <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / draws)


def candidate(name: str, score: float, seed: int, stop: int | None = None) -> CandidateResult:
    rng = np.random.default_rng(seed)
    runs = []
    for number in range(3):
        sums = np.clip(score + rng.normal(0, 0.03, PIECES), 0, 1)
        sample = Sample(score=float(sums.mean()), sums=sums.tolist(), weights=[1.0] * PIECES)
        runs.append(SeedRun(seed=number, test=sample))
    early = None if stop is None else EarlyStop(steps=stop, behind=0.25, best="a")
    return CandidateResult(name=name, given=name, runs=runs, stopped=early)


def test_a_verdict_is_about_those_trained_to_the_end():
    field = [candidate("a", 0.9, 1), candidate("b", 0.8, 2), candidate("c", 0.5, 3, stop=300)]
    board, verdict = judge(ACCURACY, field, [])
    assert verdict.kind == "winner"
    assert verdict.headline.startswith("a is the best of the 2 trained to the end: accuracy 0.")
    assert any(
        "c at step 300, 0.250 behind a" in text and "--equal steps" in text for text in verdict.details
    )
    assert [c.other for c in verdict.contrasts] == ["b"], "who was trained for less is not beaten"
    assert [(row.name, row.stopped_at) for row in board] == [("a", None), ("b", None), ("c", 300)]


def test_who_was_stopped_is_tied_with_none():
    field = [candidate("a", 0.9, 1), candidate("b", 0.9, 2), candidate("c", 0.9, 3, stop=300)]
    board, verdict = judge(ACCURACY, field, [])
    assert verdict.kind == "too_close" and verdict.tied in (["a", "b"], ["b", "a"])
    assert {row.name for row in board if row.tied_with_best} == {"a", "b"}


def test_no_winner_that_is_not_ahead_of_who_was_stopped():
    field = [candidate("a", 0.9, 1), candidate("b", 0.7, 2), candidate("c", 0.95, 3, stop=300)]
    board, verdict = judge(ACCURACY, field, [])
    assert board[0].name == "c" and board[0].stopped_at == 300
    assert verdict.kind == "too_close" and verdict.winner is None
    assert "a cannot be told from c, though that was not trained to the end" in verdict.headline
    assert "--equal steps" in verdict.details[0]
