"""Vectors of single fields."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from anyformer.embed._base import Embedder
from anyformer.layers.linear import Linear
from anyformer.schema import Field, StreamFacts, Values

SCALE = (2 / 3) ** 0.5
"""Standard deviation of a category's fresh vector: that of ``Linear(1, D)`` on a standardised number, whose weight and
bias have a variance of 1/3 each, so that all fields begin with the same weight."""


class FieldVectors(Embedder):
    """An embedder that gives each field vectors of its own and joins them.

    Args:
        rank: width of the tables of categories with more values than that, whose rows are then mapped to D (Lan et al.
            2020, section 3.1); by default D itself.
    """

    class Options(Embedder.Options):
        rank: int | None = None

    options: Options

    def __init__(
        self,
        facts: StreamFacts,
        dim: int,
        known: Mapping[Field, nn.Module] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(facts, dim, known, **options)
        known, rank = known or {}, self.options.rank
        if rank is not None and rank < 1:
            raise ValueError(f"rank must be at least 1, got {rank}")
        self.fields = nn.ModuleList(
            known[field] if field in known else _field_module(field, dim, rank) for field in facts.fields
        )

    @property
    def modules_of_fields(self) -> dict[Field, nn.Module]:
        """The module of each field."""
        return dict(zip(self.facts.fields, self.fields))

    def forward(self, values: Values) -> Tensor:
        """x ``(B, T, D)`` of checked values."""
        return self.join([embed(values[name]) for name, embed in zip(self.facts.names, self.fields)])

    def join(self, vectors: list[Tensor]) -> Tensor:
        """x ``(B, T, D)`` of the vectors of each field."""
        raise NotImplementedError


def _field_module(field: Field, dim: int, rank: int | None) -> nn.Module:
    """One vector a category, or a linear map of the numbers."""
    if field.size is None:
        assert field.width is not None
        return Linear(field.width, dim)
    factored = rank is not None and field.size > rank
    embed = nn.Embedding(field.size, rank if rank is not None and factored else dim)
    nn.init.normal_(embed.weight, std=SCALE)
    if rank is None or not factored:
        return embed
    up = Linear(rank, dim, bias=False)
    nn.init.normal_(up.weight, std=rank**-0.5)  # the vectors keep their scale
    return nn.Sequential(embed, up)
