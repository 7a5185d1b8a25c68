"""Which differences are significant: Holm's correction, and what is too small to matter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from anyformer.compare.results import Contrast
from anyformer.compare.verdict.confidence_intervals import LEVEL, NO_LIMITS, Entry, Estimate, difference
from anyformer.metrics import Limits

SMALLEST = 0.005
"""Differences below this share of the larger score are too small to matter."""


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down correction: reject those below the level, and the chance of any false one stays at it."""
    adjusted = [0.0] * len(p_values)
    highest = 0.0
    for place, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        highest = max(highest, min(1.0, p_values[index] * (len(p_values) - place)))
        adjusted[index] = highest
    return adjusted


def contrasts(
    pairs: Sequence[tuple[Entry, Entry]], *, higher_is_better: bool, limits: Limits = NO_LIMITS
) -> list[Contrast]:
    """The first of each pair against the second, corrected for the number of pairs; in the order given."""
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


def advantage(one: Entry, other: Entry, *, higher_is_better: bool, limits: Limits = NO_LIMITS) -> Estimate:
    """How much better the first is than the second, positive meaning better."""
    e = difference(one, other, limits)
    return e if higher_is_better else replace(e, mean=-e.mean, centre=-e.centre)  # limits lie evenly around 0


def smallest_that_matters(one: Entry, other: Entry) -> float:
    """Differences of these two rows up to this one decide nothing."""
    return SMALLEST * max(abs(one.score), abs(other.score))


def beaten(contrast: Contrast) -> bool:
    """Whether the other row of the contrast is shown to be worse by what matters."""
    return contrast.difference > contrast.smallest and contrast.p < LEVEL
