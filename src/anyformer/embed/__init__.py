"""Fields into vectors: a stream of fields becomes x ``(B, T, D)``."""

from __future__ import annotations

from anyformer.embed.embedder import Embedder
from anyformer.embed.field_sum import FieldSum
from anyformer.embed.field_tokens import FieldTokens
from anyformer.schema import StreamFacts

__all__ = ["Embedder", "FieldSum", "FieldTokens", "create_embedder"]


def create_embedder(facts: StreamFacts, dim: int) -> Embedder:
    """The embedder of a stream: sums of fields for sequences, a token a field for records."""
    return FieldTokens(facts, dim) if facts.shape == "record" else FieldSum(facts, dim)
