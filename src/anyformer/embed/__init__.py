"""Inputs into vectors: tokens, numbers or fields become x ``(B, T, D)``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from anyformer.embed._base import Embedder, EmbedderInfo, Sites
from anyformer.layers.linear import Linear
from anyformer.registry import Registry, modules_in, nearest
from anyformer.schema import Field, InputFacts, StreamFacts

__all__ = [
    "Embedder",
    "EmbedderInfo",
    "Sites",
    "create_embedder",
    "embedder_info",
    "embedders",
    "embedding",
    "list_embedders",
    "register_embedder",
    "source_embedding",
]

DEFAULT = "default"
"""The name that stands for a table of tokens, a linear map of numbers, and the embedder of a stream's shape."""
DEFAULTS = {"sequence": "field_sum", "set": "field_sum", "record": "field_tokens", "grid": "patches"}
"""Embedders of streams, by their shape, where a spec names none."""

embedders: Registry[type[Embedder]] = Registry("embedder", modules_in(__name__, __path__))
register_embedder, list_embedders = embedders.register, embedders.ids


def create_embedder(
    name: str,
    facts: StreamFacts,
    dim: int,
    known: Mapping[Field, nn.Module] | None = None,
    /,
    **options: Any,
) -> Embedder:
    """Build the embedder of that name for a stream.

    Args:
        name: one of :func:`list_embedders`, or ``default`` for that of the stream's shape.
        facts: the fields of the stream.
        dim: width D of its vectors.
        known: modules of another stream's fields, which equal fields share.
        options: of the embedder.

    Raises:
        ValueError: for an unknown name or option, or if it does not embed such streams.
    """
    cls = embedder_class(name, facts)
    cls.Options.read(options)  # raises for one that is called as another argument
    return cls(facts, dim, known, **options)


def embedder_info(name: str, facts: StreamFacts, /, **options: Any) -> EmbedderInfo:
    """Return the properties of an embedder for a stream, without building it; see :func:`create_embedder`."""
    return embedder_class(name, facts).Options.read(options).info(facts)


def embedder_class(name: str, facts: StreamFacts) -> type[Embedder]:
    """Return the class of that name, for ``default`` that of the stream's shape."""
    found = embedders.get(DEFAULTS[facts.shape] if name == DEFAULT else name).target
    if not (isinstance(found, type) and issubclass(found, Embedder)):
        raise ValueError(f"embedder {name!r} must be a subclass of anyformer.embed.Embedder, got {found!r}")
    return found


def embedding(facts: InputFacts, dim: int, name: str = DEFAULT, /, **options: Any) -> nn.Module:
    """The map of inputs to x (B, T, D): a vector a token, a linear map of numbers, or an embedder of numbers or fields.

    Args:
        facts: of the inputs.
        dim: width D.
        name, options: of the embedder, see :func:`create_embedder`.

    Raises:
        ValueError: an embedder is named for tokens, an option for tokens or numbers without one, or it does not embed
            such fields.
    """
    if facts.stream is not None:
        return create_embedder(name, facts.stream, dim, **options)
    if name != DEFAULT and facts.fields is not None:
        return create_embedder(name, facts.fields, dim, **options)
    if name != DEFAULT:
        raise ValueError(f"embed must be left out for tokens, got {name}: it embeds numbers or fields")
    known = Embedder.Options.names()
    for option in options:
        if option not in known:
            raise ValueError(
                f"embed: {DEFAULT} has no option {option!r} for tokens and numbers{nearest(option, known)}"
            )
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
        return create_embedder(DEFAULT, facts.stream, dim, embed.modules_of_fields)
    return embedding(facts, dim)
