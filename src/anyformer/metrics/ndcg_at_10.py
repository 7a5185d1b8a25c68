"""The discounted gain of the right answer among the first ten."""

from __future__ import annotations

from torch import Tensor

from anyformer.metrics import register_metric
from anyformer.metrics._ranks import OfRank


@register_metric("ndcg_at_10")
class NDCGAt10(OfRank):
    """The mean of 1 / log2(1 + rank) of the right class, 0 beyond the tenth (Järvelin and Kekäläinen 2002).

    As one class is right, the best possible gain, by which it is normalised, is 1.
    """

    name = "NDCG@10"
    cutoff = 10

    def gains(self, ranks: Tensor) -> Tensor:
        """Return the discounts up to the cutoff."""
        return (ranks <= 10) / (1 + ranks).log2()
