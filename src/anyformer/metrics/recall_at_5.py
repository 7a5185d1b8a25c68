"""The share of right answers among the first 5."""

from __future__ import annotations

from anyformer.metrics import register_metric
from anyformer.metrics._ranks import OfFirst


@register_metric("recall_at_5")
class RecallAt5(OfFirst):
    """The share of answers whose right class is among the 5 likeliest: the hit rate, as one class is right."""

    name = "recall@5"
    cutoff = 5
