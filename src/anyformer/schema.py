"""Facts about a model's inputs: tokens, numbers or fields, of a sequence, a set, a record or a grid."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import pydantic
import torch
from pydantic import BaseModel, ConfigDict, model_validator
from torch import Tensor
from torch.utils._pytree import tree_map

Values = Mapping[str, Tensor]
"""Fields by name: categories ``(B, T)`` int64, numbers ``(B, T, width)`` float; those of records lack the axis T, grids
have more axes instead of T."""

NUMBERS = "(numbers)"
"""The field of columns of numbers, side by side."""


@dataclass(frozen=True)
class Stream:
    """A sequence of elements.

    Attributes:
        inputs: ``(B, T)`` int64 tokens, ``(B, T, F)`` float numbers, or fields by name (:data:`Values`).
        mask: ``(B, T)`` bool, True at real elements, or None if all are real.
    """

    inputs: Tensor | Values
    mask: Tensor | None = None

    def map(self, function: Callable[[Tensor], Tensor]) -> Stream:
        """Return the stream with ``function`` applied to each of its tensors."""
        mask = None if self.mask is None else function(self.mask)
        return Stream(tree_map(function, self.inputs), mask)


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


class SeriesWindow(BaseModel):
    """A window of series that all have the same steps, and what is asked of it: the values that follow.

    Its numbers ``(B, steps, columns)`` are the columns, or ``(B, steps, k * columns)`` further numbers of each column
    behind them, such as marks of missing values. Outputs are ``(B, horizon * targets * Q)``, the Q numbers of one value
    adjacent, then the targets of one step.

    Attributes:
        steps: length of the window.
        columns: number of series M in it.
        targets: indices of the columns whose next values are asked.
        horizon: number of values asked of each.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    steps: int = pydantic.Field(ge=1)
    columns: int = pydantic.Field(ge=1)
    targets: list[int] = pydantic.Field(min_length=1)
    horizon: int = pydantic.Field(ge=1)

    @model_validator(mode="after")
    def _targets_are_columns(self) -> SeriesWindow:
        if not all(0 <= target < self.columns for target in self.targets):
            raise ValueError(f"targets must be indices of the {self.columns} columns, got {self.targets}")
        return self


class StreamFacts(BaseModel):
    """The fields of a stream.

    Attributes:
        shape: a ``"sequence"`` of elements which have all fields; a ``"set"`` of such, in any order; a ``"record"``,
            whose fields are the elements; or a ``"grid"`` of elements, such as the pixels of an image.
        fields: in order, each with a name of its own; those of a grid are numbers.
        size: of a grid: the length of each axis, such as ``(height, width)``.
        window: of a sequence of one field of numbers that is a window of series.
        asked: the category whose next value is asked: classes are its last codes, in order.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    shape: Literal["sequence", "set", "record", "grid"] = "sequence"
    fields: list[Field] = pydantic.Field(min_length=1)
    size: tuple[int, ...] | None = None
    window: SeriesWindow | None = None
    asked: str | None = None

    @model_validator(mode="after")
    def _names_differ(self) -> StreamFacts:
        if len(set(self.names)) < len(self.names):
            raise ValueError(f"the fields of a stream must have different names, got {self.names}")
        return self

    @model_validator(mode="after")
    def _a_category_is_asked(self) -> StreamFacts:
        if self.asked is not None and self.asked not in {field.name for field in self.fields if field.size}:
            raise ValueError(f"asked must be a category of the stream, got {self.asked!r}")
        return self

    @model_validator(mode="after")
    def _grids_have_a_size(self) -> StreamFacts:
        if (self.shape == "grid") != bool(self.size) or min(self.size or (1,)) < 1:
            raise ValueError(
                f"size must be the positive lengths of a grid's axes, got {self.size} for a {self.shape}"
            )
        if self.shape == "grid" and not all(field.width for field in self.fields):
            raise ValueError(f"the fields of a grid must be numbers, got {self.fields}")
        return self

    @model_validator(mode="after")
    def _windows_are_numbers(self) -> StreamFacts:
        if self.window is not None:
            width = self.fields[0].width if self.shape == "sequence" and len(self.fields) == 1 else None
            if width is None or width % self.window.columns:
                raise ValueError(
                    f"a window must be a sequence of one field of numbers, as many for each of its "
                    f"{self.window.columns} columns, got {self.fields}"
                )
        return self

    @property
    def names(self) -> list[str]:
        """Of the fields, in order."""
        return [field.name for field in self.fields]

    @property
    def axes(self) -> tuple[str | int, ...]:
        """The axes of a category's values: the batch, and those of the elements, by name or length."""
        return ("batch", "time") if self.shape in ("sequence", "set") else ("batch", *(self.size or ()))

    def check(self, values: Values, name: str = "x") -> None:
        """Check the values of a batch, the argument ``name``.

        Raises:
            ValueError: a field is missing, is not known, or has the wrong shape, type or range.
        """
        if not isinstance(values, Mapping) or set(values) != set(self.names):
            got = ", ".join(map(repr, values)) if isinstance(values, Mapping) else type(values).__name__
            raise ValueError(
                f"{name} must be a dict of the fields {', '.join(map(repr, self.names))}, got {got}"
            )
        elements = {v.shape[: len(self.axes)] for v in values.values()}
        if len(elements) > 1:
            raise ValueError(
                f"the fields of {name} must have as many elements, got {sorted(map(tuple, elements))}"
            )
        for field in self.fields:
            _check_field(field, values[field.name], name, self.axes)

    def length(self, values: Values) -> int:
        """The number of elements T."""
        if self.shape in ("sequence", "set"):
            return next(iter(values.values())).shape[1]
        return len(self.fields) if self.size is None else math.prod(self.size)

    def example(self, batch: int, length: int, generator: torch.Generator | None = None) -> dict[str, Tensor]:
        """Return values drawn at random for ``batch`` sequences of ``length`` elements, or as many records or grids."""
        shape = (batch, length) if self.shape in ("sequence", "set") else (batch, *(self.size or ()))
        return {
            field.name: torch.randint(field.size, shape, generator=generator)
            if field.size is not None
            else torch.randn(*shape, field.width or 0, generator=generator)
            for field in self.fields
        }


class InputFacts(BaseModel):
    """Facts about the elements of a sequence: exactly one of these is given.

    Attributes:
        vocab_size: number of tokens; the elements are tokens ``(B, T)`` int64.
        num_features: number of features; the elements are numbers ``(B, T, num_features)`` float.
        stream: the elements have these fields.

    Beside ``num_features``, ``window`` may say that the numbers are a window of series.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    vocab_size: int | None = pydantic.Field(None, ge=1)
    num_features: int | None = pydantic.Field(None, ge=1)
    stream: StreamFacts | None = None
    window: SeriesWindow | None = None

    @model_validator(mode="after")
    def _one_of_them(self) -> InputFacts:
        given = [self.vocab_size, self.num_features, self.stream]
        if sum(one is not None for one in given) != 1:
            raise ValueError(
                f"exactly one of vocab_size, num_features and stream must be given, got {given[0]}, {given[1]} and "
                f"{given[2]}"
            )
        if self.window is not None and self.num_features is None:
            raise ValueError("a window must be one of numbers, and num_features is not given")
        return self

    @property
    def fields(self) -> StreamFacts | None:
        """The fields: those of the stream, or one for numbers; None for tokens."""
        if self.num_features is None:
            return self.stream
        return StreamFacts(fields=[Field(name=NUMBERS, width=self.num_features)], window=self.window)

    def values(self, x: Tensor | Values) -> Values:
        """The values of :attr:`fields`."""
        return {NUMBERS: x} if isinstance(x, Tensor) else x

    def check(self, x: Tensor | Values, name: str = "x") -> None:
        """Check the argument ``name`` of a model.

        Raises:
            ValueError: it has the wrong shape, type or range.
        """
        if self.stream is not None:
            self.stream.check(x, name)  # type: ignore[arg-type]
            return
        if not isinstance(x, Tensor):
            raise ValueError(f"{name} must be a tensor, got {type(x).__name__}")
        if self.vocab_size is not None:
            if x.dim() != 2 or x.dtype not in (torch.int64, torch.int32):
                raise ValueError(
                    f"{name} must be tokens (batch, time) of int64, got {tuple(x.shape)} {x.dtype}"
                )
            if x.numel() and not torch.compiler.is_compiling() and not x.is_cuda:
                low, high = int(x.min()), int(x.max())
                if low < 0 or high >= self.vocab_size:
                    raise ValueError(
                        f"{name} must hold tokens from 0 to {self.vocab_size - 1}, got {low} to {high}"
                    )
        elif x.dim() != 3 or x.shape[-1] != self.num_features or not x.dtype.is_floating_point:
            raise ValueError(
                f"{name} must be features (batch, time, {self.num_features}) of float, got {tuple(x.shape)} {x.dtype}"
            )

    def length(self, x: Tensor | Values) -> int:
        """The number of elements T."""
        if isinstance(x, Tensor):
            return x.shape[1]
        assert self.stream is not None
        return self.stream.length(x)

    def example(
        self, batch: int, length: int, generator: torch.Generator | None = None
    ) -> Tensor | dict[str, Tensor]:
        """Return inputs drawn at random, on the CPU; records and grids have their own length."""
        if self.stream is not None:
            return self.stream.example(batch, length, generator)
        if self.vocab_size is not None:
            return torch.randint(self.vocab_size, (batch, length), generator=generator)
        assert self.num_features is not None
        return torch.randn(batch, length, self.num_features, generator=generator)


def _check_field(field: Field, value: Tensor, of: str, axes: tuple[str | int, ...]) -> None:
    name, where, shape = field.name, ", ".join(map(str, axes)), tuple(value.shape)
    sizes = {place: size for place, size in enumerate(axes) if isinstance(size, int)}
    fits = len(shape) >= len(axes) and all(shape[place] == size for place, size in sizes.items())
    if field.size is None:
        numbers = value.dtype.is_floating_point and len(shape) == len(axes) + 1
        if not fits or not numbers or shape[-1] != field.width:
            raise ValueError(
                f"field {name!r} of {of} must be numbers ({where}, {field.width}) of float, got {shape} {value.dtype}"
            )
        return
    if not fits or len(shape) != len(axes) or value.dtype not in (torch.int64, torch.int32):
        raise ValueError(
            f"field {name!r} of {of} must be categories ({where}) of int64, got {shape} {value.dtype}"
        )
    if value.numel() and not torch.compiler.is_compiling() and not value.is_cuda:
        low, high = int(value.min()), int(value.max())
        if low < 0 or high >= field.size:
            raise ValueError(
                f"field {name!r} of {of} must hold categories from 0 to {field.size - 1}, got {low} to {high}"
            )
