"""The share of right answers among the first 10."""

from __future__ import annotations

from anyformer.metrics import register_metric
from anyformer.metrics._ranks import OfFirst


@register_metric("recall_at_10")
class RecallAt10(OfFirst):
    """The share of answers whose right class is among the 10 likeliest: the hit rate, as one class is right."""

    name = "recall@10"
    cutoff = 10
