"""Vectors of single fields."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import torch
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

    @property
    def numbers(self) -> dict[int, list[int]]:
        """The places of the fields of numbers, by their width: their maps are made at once, as there may be many."""
        found: dict[int, list[int]] = {}
        for place, field in enumerate(self.facts.fields):
            if field.width is not None:
                found.setdefault(field.width, []).append(place)
        return found

    def maps(self, places: list[int]) -> tuple[Tensor, Tensor]:
        """Weights ``(F, D, W)`` and biases ``(F, D)`` of fields of numbers of the same width."""
        layers = [cast(Linear, self.fields[place]) for place in places]
        return torch.stack([one.weight for one in layers]), torch.stack([one.bias for one in layers])

    def categories(self, values: Values) -> dict[int, Tensor]:
        """The vectors of each category, by its place."""
        named = enumerate(zip(self.facts.fields, self.fields))
        return {place: embed(values[field.name]) for place, (field, embed) in named if field.width is None}


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
