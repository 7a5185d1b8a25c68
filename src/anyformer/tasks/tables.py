"""Columns of tables: by name, and what they hold."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from anyformer.registry import nearest
from anyformer.spelling import option
from anyformer.tasks.base import DataError


def check_column(path: Path, frame: pd.DataFrame, name: str, argument: str) -> str:
    """``name``, or ``DataError`` with the nearest columns where the table has none of that name."""
    if name not in frame.columns:
        raise DataError(
            f"{option(argument)}: {path} has no column {name!r}{nearest(name, list(frame.columns))}"
        )
    return name


def is_text(column: pd.Series) -> bool:
    """Whether a column holds anything but numbers, booleans and dates."""
    kinds = pd.api.types
    return not (kinds.is_numeric_dtype(column) or kinds.is_datetime64_any_dtype(column))
