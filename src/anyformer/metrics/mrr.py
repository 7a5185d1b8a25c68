"""The mean reciprocal rank."""

from __future__ import annotations

from torch import Tensor

from anyformer.metrics import register_metric
from anyformer.metrics._ranks import OfRank


@register_metric("mrr")
class MRR(OfRank):
    """The mean of 1 / rank of the right class among all classes (Voorhees 1999)."""

    name = "MRR"

    def gains(self, ranks: Tensor) -> Tensor:
        """Return the reciprocals."""
        return 1 / ranks
