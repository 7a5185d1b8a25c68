"""How data becomes what a model eats, as names and numbers that a saved model carries with it.

A task encodes its own data through these, and :mod:`anyformer.tasks.unseen` encodes new data through the same ones.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from anyformer.tasks.calendar import Step
from anyformer.tasks.dates import Reading
from anyformer.tasks.numbers import Convention


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Layout(_Record):
    """How a file is read.

    Attributes:
        kind: a sequence is a row's numeric columns in this order; the bytes of its text; the rows of a group; a
            row of the array x of an ``.npz`` file; or, for forecasts, a stretch of the columns over time.
        columns: names of the numeric columns.
        text, group, date: names of the columns that hold these; several groups tell series apart together.
        length: the most places taken of a sequence.
        step: the time between two places of a forecast's series.
        reading: how the dates are written; None in what was saved before this was kept.
        decimal, thousands, missing: how the file writes numbers and what stands for a missing value, as was said.
        likely: the decimal mark that its numbers show.
        axes: of an array x with three axes: samples, time, features.
    """

    kind: Literal["columns", "text", "groups", "arrays", "series"]
    columns: list[str] = []
    text: str | None = None
    group: str | list[str] | None = None
    date: str | None = None
    length: int | None = None
    step: Step | None = None
    reading: Reading | None = None
    decimal: str | None = None
    thousands: str | None = None
    missing: list[str] | None = None
    likely: str | None = None
    axes: Literal["NTF", "NFT"] = "NTF"

    @property
    def groups(self) -> list[str]:
        """The names of the columns that tell series or sequences apart."""
        return [self.group] if isinstance(self.group, str) else list(self.group or ())

    @property
    def convention(self) -> Convention:
        """How new files are read."""
        missing = None if self.missing is None else frozenset(self.missing)
        return Convention(self.decimal, self.thousands, missing, self.likely)


class Standard(_Record):
    """Features less their mean, over their deviation; with ``marks``, a channel for each says what was missing.

    ``mean`` and ``scale`` are ``(1, F)``, or ``(T, F)`` where each place has its own.
    """

    mean: list[list[float]]
    scale: list[list[float]]
    marks: bool

    @classmethod
    def fit(cls, x: np.ndarray, mask: np.ndarray | None, *, by_place: bool, marks: bool) -> Standard:
        """The statistics of x ``(N, T, F)``, NaN and what ``mask`` ``(N, T)`` leaves out not counted."""
        known = ~np.isnan(x)
        if mask is not None:
            known &= mask[..., None]
        over = (0,) if by_place else (0, 1)
        count = np.maximum(known.sum(over), 1)
        mean = np.where(known, x, 0).sum(over) / count
        scale = np.sqrt(np.where(known, np.square(x - mean), 0).sum(over) / count)
        scale = np.where(scale > 0, scale, 1)
        return cls(mean=np.atleast_2d(mean).tolist(), scale=np.atleast_2d(scale).tolist(), marks=marks)

    def encode(self, x: np.ndarray) -> np.ndarray:
        """x ``(N, T, F)`` standardised, 0 where it is NaN; ``(N, T, 2 F)`` with marks."""
        missing = np.isnan(x)
        z = np.where(missing, 0, (x - np.array(self.mean)) / np.array(self.scale))
        return np.concatenate([z, missing], -1) if self.marks else z


class LabelledEncoding(_Record):
    """Of sequences with a class or some numbers.

    Attributes:
        targets: names of what is predicted.
        vocab_size, standard: exactly one is set: tokens, or features.
        classes: names of the classes; or
        shift, scale: of the standardised numbers that are predicted.
    """

    kind: Literal["labelled"] = "labelled"
    layout: Layout
    targets: list[str]
    vocab_size: int | None = None
    standard: Standard | None = None
    classes: list[str] | None = None
    shift: list[float] | None = None
    scale: list[float] | None = None


class ForecastEncoding(_Record):
    """Of windows of a series, each normalised by itself.

    Attributes:
        targets: which of the layout's columns are forecast.
        context, horizon: lengths in steps.
        floor: the least that each column of a window is divided by.
        marks: whether a channel a column says what was missing.
    """

    kind: Literal["forecast"] = "forecast"
    layout: Layout
    targets: list[str]
    context: int
    horizon: int
    floor: list[float]
    marks: bool

    def normalised(
        self, values: np.ndarray, missing: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Windows as a model eats them, and how to undo it.

        Args:
            values: ``(B, T, M)``, filled where unknown, NaN where nothing was known yet.
            missing: ``(B, T, M)``, where it was filled or is NaN.

        Returns:
            x ``(B, T, M)`` or, with marks, ``(B, T, 2 M)``; shift and scale ``(B, 1, M)``; and ``(B, 1, M)``
            whether anything was known of the column.
        """
        counts = np.where(missing.all(1, keepdims=True), ~np.isnan(values), ~missing)
        weight = np.maximum(counts.sum(1, keepdims=True), 1)
        shift = np.where(counts, values, 0).sum(1, keepdims=True) / weight
        scale = np.sqrt(np.square(np.where(counts, values - shift, 0)).sum(1, keepdims=True) / weight)
        scale = np.maximum(scale, self.floor)
        x = np.nan_to_num((values - shift) / scale)
        x = np.concatenate([x, missing], -1) if self.marks else x
        return x, shift, scale, np.any(counts, 1, keepdims=True)


Encoding = LabelledEncoding | ForecastEncoding


def load_encoding(fields: dict[str, Any]) -> Encoding:
    """The encoding that ``model_dump`` made these fields of; ``ValueError`` where they are not of one."""
    adapter: TypeAdapter[Encoding] = TypeAdapter(Annotated[Encoding, Field(discriminator="kind")])
    return adapter.validate_python(fields)


def filled(values: np.ndarray) -> np.ndarray:
    """Values ``(n, M)`` with the last known one where one is NaN; NaN remains before the first."""
    rows = np.where(np.isnan(values), 0, np.arange(len(values))[:, None])
    found: np.ndarray = np.take_along_axis(values, np.maximum.accumulate(rows, axis=0), axis=0)
    return found
