"""The sum of its fields' vectors for each element of a sequence or set."""

from __future__ import annotations

from torch import Tensor

from anyformer.embed import register_embedder
from anyformer.embed._base import EmbedderInfo
from anyformer.embed._fields import FieldVectors
from anyformer.schema import StreamFacts


@register_embedder("field_sum")
class FieldSum(FieldVectors):
    """Each element of a sequence or set as the sum of its fields: x_t = sum over fields f of E_f(value_{t,f})."""

    class Options(FieldVectors.Options):
        def info(self, facts: StreamFacts) -> EmbedderInfo:
            self.needs(facts, "sequence", "set")
            return EmbedderInfo()

    def join(self, vectors: list[Tensor]) -> Tensor:
        """The sum of vectors ``(B, T, D)``."""
        total = vectors[0]
        for vector in vectors[1:]:
            total = total + vector
        return total
