"""The sum of its fields' vectors for each element of a sequence."""

from __future__ import annotations

from torch import Tensor

from anyformer.embed.embedder import Embedder


class FieldSum(Embedder):
    """x_t = sum over fields f of E_f(value_{t,f})."""

    def join(self, vectors: list[Tensor]) -> Tensor:
        """The sum of vectors ``(B, T, D)``."""
        total = vectors[0]
        for vector in vectors[1:]:
            total = total + vector
        return total
