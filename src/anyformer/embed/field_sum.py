"""The sum of its fields' vectors for each element of a sequence or set, or for a record."""

from __future__ import annotations

from torch import Tensor

from anyformer.embed import register_embedder
from anyformer.embed._base import EmbedderInfo
from anyformer.embed._fields import FieldVectors
from anyformer.schema import StreamFacts


@register_embedder("field_sum")
class FieldSum(FieldVectors):
    """Each element of a sequence or set as the sum of its fields: x_t = sum over fields f of E_f(value_{t,f}).

    A record is one element: a linear map of its numbers, and a vector for each of its categories.
    """

    class Options(FieldVectors.Options):
        def info(self, facts: StreamFacts) -> EmbedderInfo:
            self.needs(facts, "sequence", "set", "record")
            return EmbedderInfo(length=1 if facts.shape == "record" else None)

    def join(self, vectors: list[Tensor]) -> Tensor:
        """The sum of vectors ``(B, T, D)``; of those of a record ``(B, D)``, with an axis for its one element."""
        total = vectors[0]
        for vector in vectors[1:]:
            total = total + vector
        return total[:, None] if self.facts.shape == "record" else total
