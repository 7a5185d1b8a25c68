"""Facts about a model's inputs: the fields of an element, and whether elements form a sequence or a record."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import pydantic
import torch
from pydantic import BaseModel, ConfigDict, model_validator
from torch import Tensor

Values = Mapping[str, Tensor]
"""Fields by name: categories ``(B, T)`` int64, numbers ``(B, T, width)`` float; those of records lack the axis T."""


class Field(BaseModel):
    """One field.

    Attributes:
        name: by which values are given.
        size: number of categories, if it is one.
        width: number of numbers, if it holds numbers.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    size: int | None = None
    width: int | None = None

    @model_validator(mode="after")
    def _one_of_them(self) -> Field:
        if (self.size is None) == (self.width is None) or (self.size or self.width or 0) < 1:
            raise ValueError(
                f"field {self.name!r} must have a positive size or width, got {self.size} and {self.width}"
            )
        return self


class StreamFacts(BaseModel):
    """The fields of a stream.

    Attributes:
        shape: a ``"sequence"`` of elements which have all fields, or a ``"record"``, whose fields are the elements.
        fields: in order, each with a name of its own.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    shape: Literal["sequence", "record"] = "sequence"
    fields: list[Field] = pydantic.Field(min_length=1)

    @model_validator(mode="after")
    def _names_differ(self) -> StreamFacts:
        if len(set(self.names)) < len(self.names):
            raise ValueError(f"the fields of a stream must have different names, got {self.names}")
        return self

    @property
    def names(self) -> list[str]:
        """Of the fields, in order."""
        return [field.name for field in self.fields]

    def check(self, values: Values) -> None:
        """Check the values of a batch.

        Raises:
            ValueError: a field is missing, is not known, or has the wrong shape, type or range.
        """
        if not isinstance(values, Mapping) or set(values) != set(self.names):
            got = ", ".join(map(repr, values)) if isinstance(values, Mapping) else type(values).__name__
            raise ValueError(f"x must be a dict of the fields {', '.join(map(repr, self.names))}, got {got}")
        elements = {v.shape[: 1 if self.shape == "record" else 2] for v in values.values()}
        if len(elements) > 1:
            raise ValueError(
                f"the fields of x must have as many elements, got {sorted(map(tuple, elements))}"
            )
        for field in self.fields:
            _check_field(field, values[field.name], axes=1 if self.shape == "record" else 2)

    def length(self, values: Values) -> int:
        """The number of elements T."""
        return len(self.fields) if self.shape == "record" else next(iter(values.values())).shape[1]

    def example(self, batch: int, length: int, generator: torch.Generator | None = None) -> dict[str, Tensor]:
        """Return values drawn at random for ``batch`` sequences of ``length`` elements, or as many records."""
        shape = (batch,) if self.shape == "record" else (batch, length)
        return {
            field.name: torch.randint(field.size, shape, generator=generator)
            if field.size is not None
            else torch.randn(*shape, field.width or 0, generator=generator)
            for field in self.fields
        }


def _check_field(field: Field, value: Tensor, axes: int) -> None:
    name, where = field.name, "batch" if axes == 1 else "batch, time"
    if field.size is None:
        if value.dim() != axes + 1 or value.shape[-1] != field.width or not value.dtype.is_floating_point:
            raise ValueError(
                f"field {name!r} of x must be numbers ({where}, {field.width}) of float, got {tuple(value.shape)} "
                f"{value.dtype}"
            )
        return
    if value.dim() != axes or value.dtype not in (torch.int64, torch.int32):
        raise ValueError(
            f"field {name!r} of x must be categories ({where}) of int64, got {tuple(value.shape)} {value.dtype}"
        )
    if value.numel() and not torch.compiler.is_compiling() and not value.is_cuda:
        low, high = int(value.min()), int(value.max())
        if low < 0 or high >= field.size:
            raise ValueError(
                f"field {name!r} of x must hold categories from 0 to {field.size - 1}, got {low} to {high}"
            )
