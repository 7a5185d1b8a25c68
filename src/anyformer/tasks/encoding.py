"""Encodings of data as inputs of a model, as names and numbers that are saved with the model.

A task encodes its own data by its encoding, which is saved with a model and reads new data for predictions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import pandas as pd
import torch
from pydantic import BaseModel, ConfigDict, ValidationError
from torch import Tensor

from anyformer.dates.calendar import Step
from anyformer.dates.reading import DateReading
from anyformer.registry import near
from anyformer.spelling import option
from anyformer.tables.numbercells import Convention


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class DataLayout(_Record):
    """The reading of a file: which columns, and how they are written.

    Attributes:
        kind: what a sequence is: a row's numeric columns in this order; the bytes of its text; the rows of a group; a
            row of the array x of an ``.npz`` file; or, for forecasts, a window of the columns over time.
        columns: names of the numeric columns.
        text, group, date: names of the columns that hold these; several group columns form one key.
        length: longest sequence, the rest being cut off.
        step: the time between two steps of a series.
        reading: the format of the dates; None in models saved before it was kept.
        decimal, thousands, missing: the user's options on numbers and missing values.
        likely: the decimal mark found in the file's numbers.
        axes: of an array x with three axes: samples, time, features.
    """

    kind: Literal["columns", "text", "groups", "arrays", "series"]
    columns: list[str] = []
    text: str | None = None
    group: str | list[str] | None = None
    date: str | None = None
    length: int | None = None
    step: Step | None = None
    reading: DateReading | None = None
    decimal: str | None = None
    thousands: str | None = None
    missing: list[str] | None = None
    likely: str | None = None
    axes: Literal["NTF", "NFT"] = "NTF"

    @property
    def groups(self) -> list[str]:
        """Names of the columns whose values identify a series or sequence."""
        return [self.group] if isinstance(self.group, str) else list(self.group or ())

    @property
    def convention(self) -> Convention:
        """Return the convention by which new files are read."""
        missing = None if self.missing is None else frozenset(self.missing)
        return Convention(self.decimal, self.thousands, missing, self.likely)


class Standard(_Record):
    """Features standardised by mean and deviation; with ``marks``, a further channel for each marks missing values.

    ``mean`` and ``scale`` are ``(1, F)``, or ``(T, F)`` if each position has its own.
    """

    mean: list[list[float]]
    scale: list[list[float]]
    marks: bool

    @classmethod
    def fit(cls, x: np.ndarray, mask: np.ndarray | None, *, by_place: bool, marks: bool) -> Standard:
        """Fit to x ``(N, T, F)``, ignoring NaN and positions where ``mask`` ``(N, T)`` is False.

        A feature without two different values keeps its scale: by its deviation, which rounding may make more than 0,
        the first other value would be a number of any size.
        """
        known = ~np.isnan(x)
        if mask is not None:
            known &= mask[..., None]
        over = (0,) if by_place else (0, 1)
        count = np.maximum(known.sum(over), 1)
        mean = np.where(known, x, 0).sum(over) / count
        scale = np.sqrt(np.where(known, np.square(x - mean), 0).sum(over) / count)
        least, most = (
            end(np.where(known, x, fill), over) for end, fill in ((np.min, np.inf), (np.max, -np.inf))
        )
        scale = np.where((most > least) & (scale > 0), scale, 1)
        return cls(mean=np.atleast_2d(mean).tolist(), scale=np.atleast_2d(scale).tolist(), marks=marks)

    def encode(self, x: np.ndarray) -> np.ndarray:
        """Return x ``(N, T, F)`` standardised, 0 where it is NaN; ``(N, T, 2 F)`` with marks."""
        missing = np.isnan(x)
        z = np.where(missing, 0, (x - np.array(self.mean)) / np.array(self.scale))
        return np.concatenate([z, missing], -1) if self.marks else z


class Encoding(_Record):
    """The encoding of new data as a model's inputs, and of its outputs as answers.

    A subclass implements ``read`` and ``answers``; its ``kind`` has a default by which saved ones are told apart.
    """

    continues: ClassVar[bool] = False
    """True if predictions follow the data's end, so that a model may continue the file that it was trained on."""
    options: ClassVar[tuple[str, ...]] = ()
    """Fields that the user may set for predictions."""
    decodes: ClassVar[bool] = False
    """True if answers are written token by token, by ``decode``."""
    kind: str

    def with_options(self, options: Mapping[str, Any]) -> Encoding:
        """Return the encoding with the user's options for predictions; ``ValueError`` if it has none such."""
        for name in options:
            if name not in self.options:
                known = f"{near(name, self.options)}; they take {', '.join(map(option, self.options))}"
                raise ValueError(
                    f"predictions of this model have no option {name!r}" + (known if self.options else "")
                )
        try:
            return self.model_validate({**self.model_dump(), **options})
        except ValidationError as error:
            name, given = str(error.errors()[0]["loc"][0]), error.errors()[0]["input"]
            told = error.errors()[0]["msg"].replace("Input should be", "must be")
            raise ValueError(f"{option(name)} {told}, got {given!r}") from None

    def decode(self, model: Any, batch: Any) -> Tensor:
        """Return a model's outputs for a batch, if ``decodes``."""
        raise NotImplementedError

    def read(self, path: Path) -> Any:
        """Return the samples in a file or folder that exists, as :class:`anyformer.tasks.new_data.Unseen`.

        Columns may come in any order; further ones, the target's included, are ignored.

        Raises:
            DataError: it cannot be used; one sentence names it, what is wrong and where.
        """
        raise NotImplementedError

    def kept(self, outputs: Tensor, asked: Tensor | None = None) -> Tensor:
        """Return what is kept of a model's outputs for some samples ``(B, ...)``; by default all.

        Args:
            outputs: the answers of the model's head.
            asked: the elements ``(B, T)`` that they are asked for; None if answers are of whole samples.
        """
        return outputs

    def answers(self, unseen: Any, outputs: Tensor) -> pd.DataFrame:
        """Return a model's kept outputs for it as a table for the user, beside the columns of ``unseen.names``."""
        raise NotImplementedError

    def writer(self, unseen: Any) -> Callable[[pd.DataFrame, Path], None] | None:
        """Return what writes the table of answers to a file as the data is written; None if that is a table too."""
        return None


Inputs = np.ndarray | dict[str, np.ndarray]
"""Arrays ``(N, ...)``, one or by field."""


def as_tensors(inputs: Inputs, rows: np.ndarray | slice = slice(None)) -> Tensor | dict[str, Tensor]:
    """Return rows of the inputs as tensors: int64 or float32."""
    if isinstance(inputs, dict):
        return {name: _as_tensor(value[rows]) for name, value in inputs.items()}
    return _as_tensor(inputs[rows])


def _as_tensor(values: np.ndarray) -> Tensor:
    return torch.from_numpy(values.astype(np.float32 if values.dtype.kind == "f" else np.int64))


def filled(values: np.ndarray) -> np.ndarray:
    """Fill NaN in values ``(n, M)`` with the last known value; NaN remains before the first."""
    rows = np.where(np.isnan(values), 0, np.arange(len(values))[:, None])
    found: np.ndarray = np.take_along_axis(values, np.maximum.accumulate(rows, axis=0), axis=0)
    return found
