"""One answer to who is tied with whom: headline, details and leaderboard do not contradict each other."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from anyformer.compare.results import CandidateResult, Contrast, ReferenceResult, Sample, SeedRun
from anyformer.compare.verdict.confidence_intervals import ScoredEntry
from anyformer.compare.verdict.judge import judge
from anyformer.compare.verdict.ties import Ties, relation_of
from anyformer.metrics import MetricInfo

ACCURACY = MetricInfo(name="accuracy", higher_is_better=True, best=1.0)


def sample(rng: np.random.Generator, score: float, shared: np.ndarray) -> Sample:
    values = np.clip(score + shared + rng.normal(0, 0.04, len(shared)), 0, 1)
    return Sample(score=float(values.mean()), sums=values.tolist(), weights=[1.0] * len(values))


def world(rng: np.random.Generator) -> tuple[list[CandidateResult], list[ReferenceResult]]:
    """Draw candidates, some erratic, and references that are close to each other or far apart."""
    shared = rng.normal(0, 0.1, 30)
    apart = rng.choice([0.005, 0.02, 0.1])
    candidates = []
    for name in "abc":
        mean, sd = 0.6 + rng.normal(0, apart), rng.choice([0.002, 0.01])
        runs = [SeedRun(seed=i, test=sample(rng, mean + rng.normal(0, sd), shared)) for i in range(3)]
        candidates.append(CandidateResult(name=name, given=name, runs=runs))
    scores = rng.choice([0.4, 0.6, 0.65]) + rng.normal(0, apart, 2)
    return candidates, [ReferenceResult(name=n, test=sample(rng, s, shared)) for n, s in zip("rs", scores)]


def test_headline_and_leaderboard_agree() -> None:
    rng, seen = np.random.default_rng(0), Counter[str]()
    for _ in range(300):
        board, verdict = judge(ACCURACY, *world(rng))
        tied = {row.name for row in board if row.tied_with_best}
        references = {row.name for row in board if row.kind == "reference"}
        beaten_all = any("The best reference" in text for text in verdict.details)
        named = {name for name in references if f"reference “{name}”" in verdict.headline}
        kind = verdict.kind + (" with a reference" if named else "")
        seen[kind] += 1
        assert beaten_all is not bool(named), verdict
        if kind == "winner":
            assert not tied
        elif kind == "too_close":
            assert tied == set(verdict.tied)
        elif kind == "too_close with a reference":
            assert tied >= {*verdict.tied, *named}
            said = " ".join([verdict.headline, *verdict.details])
            assert all(f"“{name}”" in said for name in tied & references), said
        elif "is better than every candidate" in verdict.headline:
            assert not tied - references
    assert len(seen) == 4 and min(seen.values()) > 5, seen


@pytest.mark.parametrize(
    ("difference", "p", "relation"),
    [
        (0.1, 0.01, "ahead"),
        (0.1, 0.2, "tied"),
        (0.001, 0.01, "tied"),
        (-0.001, 0.01, "tied"),
        (-0.1, 0.01, "behind"),
    ],
)
def test_a_relation_takes_evidence_and_what_matters(difference: float, p: float, relation: str) -> None:
    contrast = Contrast(better="a", other="b", difference=difference, low=0.0, high=0.0, p=p, smallest=0.005)
    assert relation_of(contrast) == relation


def test_a_reference_behind_another_is_not_tied_for_best() -> None:
    rng, shared = np.random.default_rng(0), np.zeros(30)
    best, good = (ScoredEntry(n, (sample(rng, s, shared),), True) for n, s in (("r", 0.8), ("s", 0.6)))
    erratic = ScoredEntry("a", tuple(sample(rng, s, shared) for s in (0.3, 0.7, 0.9)))
    ties = Ties.found(ACCURACY, [erratic], [best, good])
    assert ties.unbeaten == [best, good] and ties.best == [erratic, best]
