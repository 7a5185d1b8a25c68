"""Inputs into vectors: tokens, numbers or fields become x ``(B, T, D)``."""

from __future__ import annotations

from collections.abc import Mapping

from torch import nn

from anyformer.embed.embedder import Embedder
from anyformer.embed.field_sum import FieldSum
from anyformer.embed.field_tokens import FieldTokens
from anyformer.layers.linear import Linear
from anyformer.schema import Field, InputFacts, StreamFacts

__all__ = ["Embedder", "FieldSum", "FieldTokens", "create_embedder", "embedding", "source_embedding"]


def create_embedder(facts: StreamFacts, dim: int, known: Mapping[Field, nn.Module] | None = None) -> Embedder:
    """The embedder of a stream: sums of fields for sequences, a token a field for records.

    Args:
        facts: the fields.
        dim: width D.
        known: modules of another stream's fields, which equal fields share.
    """
    kind = FieldTokens if facts.shape == "record" else FieldSum
    return kind(facts, dim, known)


def embedding(facts: InputFacts, dim: int) -> nn.Module:
    """The map of inputs to x (B, T, D): a vector a token, a linear map of numbers, or an embedder of fields."""
    if facts.stream is not None:
        return create_embedder(facts.stream, dim)
    if facts.vocab_size is None:
        assert facts.num_features is not None
        return Linear(facts.num_features, dim)
    embed = nn.Embedding(facts.vocab_size, dim)
    nn.init.normal_(embed.weight, std=dim**-0.5)
    return embed


def source_embedding(facts: InputFacts, dim: int, inputs: InputFacts, embed: nn.Module) -> nn.Module:
    """The module for a source, whose inputs have the module ``embed``.

    Tokens of vocabularies of the same size share one table, and fields that are equal share one module.
    """
    if facts.vocab_size is not None and facts.vocab_size == inputs.vocab_size:
        return embed
    if facts.stream is not None and isinstance(embed, Embedder):
        return create_embedder(facts.stream, dim, embed.modules_of_fields)
    return embedding(facts, dim)
