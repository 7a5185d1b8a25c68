"""No verdict is stronger than its evidence: few seeded draws of what ``verdicts.py`` does at length."""

from __future__ import annotations

import math

import pytest
from tests.compare.verdicts import ITEMS, METRICS, SPREADS, Setting, rates

DRAWS = 40


def share(found: list[float]) -> tuple[float, float]:
    """The mean of rates, and two and a half standard errors of it where the truth is 5 %."""
    return sum(found) / len(found), 2.5 * math.sqrt(0.05 * 0.95 / (len(found) * DRAWS))


@pytest.mark.parametrize("items", ITEMS)
def test_equals_are_called_equal(items: int) -> None:
    """Whatever the metric, and whether seeds vary not at all, as much as items do, or more."""
    worlds = [Setting(metric=m, items=items, seeds_vary=v) for m in METRICS for v in SPREADS]
    found = [rates(world, DRAWS, seed) for seed, world in enumerate(worlds)]
    for what in ("winner", "beats"):
        rate, margin = share([getattr(one, what) for one in found])
        assert rate <= 0.05 + margin, what


@pytest.mark.parametrize("clusters", [8, 20])
def test_clusters_of_items_count_as_clusters(clusters: int) -> None:
    worlds = [Setting(metric=m, items=300, clusters=clusters, seeds_vary=v) for m in METRICS for v in SPREADS]
    found = [rates(world, DRAWS, seed) for seed, world in enumerate(worlds)]
    rate, margin = share([one.winner for one in found])
    assert rate <= 0.05 + margin


def test_sorted_items_change_nothing() -> None:
    """2,000 items are dealt out into pieces at random, so that neighbours alike do not pass for variance."""
    for metric in METRICS:
        world = Setting(metric=metric, items=2000, seeds_vary="none", gain=0.25, ordered=True)
        assert rates(world, DRAWS).first >= 0.9, "nor is a true winner denied"


@pytest.mark.parametrize("metric", METRICS)
def test_real_differences_are_found(metric: str) -> None:
    found = {v: rates(Setting(metric=metric, items=300, seeds_vary=v, gain=0.5), DRAWS) for v in SPREADS}
    assert min(found[v].first for v in ("none", "like")) >= 0.9
    assert all(one.not_needed <= 0.05 for one in found.values()), "nothing better is called unneeded"


def test_a_lack_of_evidence_is_none() -> None:
    """With eight items a better candidate is seldom shown to be better, and not called unneeded."""
    for seed, metric in enumerate(METRICS):
        assert rates(Setting(metric=metric, items=8, gain=0.5), 100, seed).not_needed <= 0.05
