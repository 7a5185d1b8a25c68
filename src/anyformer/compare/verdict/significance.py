"""Significance of differences: Holm's correction, and the smallest difference that matters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from anyformer.compare.results import Contrast
from anyformer.compare.verdict.confidence_intervals import LEVEL, NO_LIMITS, Estimate, ScoredEntry, difference
from anyformer.metrics import Limits

SMALLEST = 0.005
"""Differences below this share of the larger score are too small to matter."""


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values after Holm's step-down correction, which bounds the probability of any false rejection."""
    adjusted = [0.0] * len(p_values)
    highest = 0.0
    for number, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        highest = max(highest, min(1.0, p_values[index] * (len(p_values) - number)))
        adjusted[index] = highest
    return adjusted


def contrasts(
    pairs: Sequence[tuple[ScoredEntry, ScoredEntry]], *, higher_is_better: bool, limits: Limits = NO_LIMITS
) -> list[Contrast]:
    """Contrast the first of each pair with the second, corrected for the number of pairs."""
    estimates = [
        advantage(one, other, higher_is_better=higher_is_better, limits=limits) for one, other in pairs
    ]
    found = []
    for (one, other), e, p in zip(pairs, estimates, holm([e.p for e in estimates]), strict=True):
        # The level at which this interval touches 0 exactly when the corrected p is LEVEL.
        level = LEVEL * min(1.0, e.p / p) if p > 0 else LEVEL / len(pairs)
        low, high = e.interval(level)
        found.append(
            Contrast(
                better=one.name,
                other=other.name,
                difference=e.mean,
                low=low,
                high=high,
                p=p,
                smallest=smallest_that_matters(one, other),
            )
        )
    return found


def advantage(
    one: ScoredEntry, other: ScoredEntry, *, higher_is_better: bool, limits: Limits = NO_LIMITS
) -> Estimate:
    """Estimate how much better the first is than the second; positive means better."""
    e = difference(one, other, limits)
    return e if higher_is_better else replace(e, mean=-e.mean, centre=-e.centre)  # limits are symmetric


def smallest_that_matters(one: ScoredEntry, other: ScoredEntry) -> float:
    """Return the largest difference between two entries that is too small to matter."""
    return SMALLEST * max(abs(one.score), abs(other.score))


def beaten(contrast: Contrast) -> bool:
    """Return True if the other entry of a contrast is significantly worse, by more than matters."""
    return contrast.difference > contrast.smallest and contrast.p < LEVEL
