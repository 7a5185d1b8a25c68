"""The encoding of windows of series as inputs of a model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict

from anyformer.schema import Field, InputFacts, StreamFacts
from anyformer.tasks.categories import Category
from anyformer.tasks.encoding import NUMBERS, DataLayout, Encoding, Inputs, Standard

COVARIATES = "(covariates)"
"""The field of numbers on the same scale everywhere, side by side."""


class Covariates(BaseModel):
    """The columns of a forecast besides the numbers that each window normalises by itself.

    Attributes:
        numbers: names of columns of numbers.
        categories: names of columns of categories.
        ahead: which of them are known of the future too.
        static: which of them are the same at all steps of a series, and so known of the future.
        calendar: features of the dates, each two numbers a step (:mod:`anyformer.tasks.calendar_features`).
        gaps: which of those known ahead had missing values in the file.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    numbers: list[str] = []
    categories: list[str] = []
    ahead: list[str] = []
    static: list[str] = []
    calendar: list[str] = []
    gaps: list[str] = []

    @property
    def columns(self) -> list[str]:
        """Names of all columns."""
        return [*self.numbers, *self.categories]

    @property
    def looks_ahead(self) -> bool:
        """True if a forecast reads more of the future than what is the same at all steps."""
        return bool(self.ahead or self.calendar)


class ForecastEncoding(Encoding):
    """The encoding of windows of a series, each normalised by its own mean and deviation.

    Without covariates the inputs are the context as numbers ``(B, context, M)``; with some, as fields. Where some are
    known ahead, that is the source, and the inputs are the steps of the horizon, with the fields that are known of
    them.

    Attributes:
        layout: its ``columns`` are the numbers that windows normalise.
        targets: which of these are forecast.
        context, horizon: lengths in steps.
        floor: smallest divisor of each column of a window.
        marks: add a channel for each column that marks missing values.
        levels: of the quantiles that are forecast; none where values are.
        covariates: the other columns.
        standard: encodes the numbers among them, calendar features last.
        categories: encode the categories among them.
        future: a file with the rows after the end of the data, where predictions find them in a file of their own.
    """

    continues = True
    options = ("future",)
    kind: Literal["forecast"] = "forecast"
    layout: DataLayout
    targets: list[str]
    context: int
    horizon: int
    floor: list[float]
    marks: bool
    levels: list[float] = []
    covariates: Covariates = Covariates()
    standard: Standard | None = None
    categories: list[Category] = []
    future: str | None = None

    @property
    def names(self) -> list[str]:
        """Names of what is forecast at each step: the targets, or each quantile of the first, the second, ..."""
        if not self.levels:
            return self.targets
        return [f"{target}_q{level}" for target in self.targets for level in self.levels]

    def normalised(
        self, values: np.ndarray, missing: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Return windows as inputs of a model, and the shift and scale that undo it.

        Args:
            values: ``(B, T, M)``, filled where unknown, NaN before the first known value.
            missing: ``(B, T, M)`` bool, True where it was filled or is NaN.

        Returns:
            x ``(B, T, M)`` or, with marks, ``(B, T, 2 M)``; shift and scale ``(B, 1, M)``; and ``(B, 1, M)``
            bool, True if any value of the column was known.
        """
        counts = np.where(missing.all(1, keepdims=True), ~np.isnan(values), ~missing)
        weight = np.maximum(counts.sum(1, keepdims=True), 1)
        shift = np.where(counts, values, 0).sum(1, keepdims=True) / weight
        scale = np.sqrt(np.square(np.where(counts, values - shift, 0)).sum(1, keepdims=True) / weight)
        scale = np.maximum(scale, self.floor)
        x = np.nan_to_num((values - shift) / scale)
        x = np.concatenate([x, missing], -1) if self.marks else x
        return x, shift, scale, np.any(counts, 1, keepdims=True)

    def streams(
        self, x: np.ndarray, covariates: np.ndarray, codes: Mapping[str, np.ndarray]
    ) -> tuple[Inputs, Inputs | None]:
        """Return a model's inputs and its source, None without one.

        Args:
            x: of :meth:`normalised`.
            covariates: ``(B, context + horizon, K)``, NaN where unknown.
            codes: by category ``(B, context + horizon)``.
        """
        if not self.covariates.columns and not self.covariates.calendar:
            return x, None
        fields = dict(codes)
        if self.standard is not None:
            fields[self._name(COVARIATES)] = self.standard.encode(covariates)
        past = {self._name(NUMBERS): x, **{name: value[:, : self.context] for name, value in fields.items()}}
        if not self.covariates.looks_ahead:
            return past, None
        return {name: fields[name][:, self.context :] for name in self._names_ahead()}, past

    def facts(self) -> tuple[InputFacts, InputFacts | None]:
        """Return the facts of a model's inputs and of its source."""
        width = len(self.layout.columns) * (1 + self.marks)
        if not self.covariates.columns and not self.covariates.calendar:
            return InputFacts(num_features=width), None
        fields = {self._name(NUMBERS): Field(name=self._name(NUMBERS), width=width)}
        if self.standard is not None:
            name, width = self._name(COVARIATES), len(self.standard.mean[0]) * (1 + self.standard.marks)
            fields[name] = Field(name=name, width=width)
        fields |= {one.name: Field(name=one.name, size=one.size) for one in self.categories}
        past = InputFacts(stream=StreamFacts(fields=list(fields.values())))
        if not self.covariates.looks_ahead:
            return past, None
        future = [fields[name] for name in self._names_ahead()]
        return InputFacts(stream=StreamFacts(fields=future)), past

    def _names_ahead(self) -> list[str]:
        """Return the fields of the horizon's steps."""
        numbers = [self._name(COVARIATES)] if self.standard is not None else []
        known = {*self.covariates.ahead, *self.covariates.static}
        return [*numbers, *(one.name for one in self.categories if one.name in known)]

    def _name(self, name: str) -> str:
        """Return the name of a field of numbers: no category is called so."""
        while name in self.covariates.categories:
            name = f"({name})"
        return name
