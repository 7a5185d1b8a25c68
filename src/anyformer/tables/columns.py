"""Columns of tables, by name and by content."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from anyformer.errors import DataError
from anyformer.registry import near
from anyformer.spelling import option

SPLIT = "(split)"
"""The column that tells the splits of one table apart, where the file does not have it."""
_SHOWN = 20


def check_column(path: Path, frame: pd.DataFrame, name: str, argument: str = "", *, needs: str = "") -> str:
    """Return ``name``; ``DataError`` with the nearest columns if the table has none of that name.

    ``argument`` is the option that names the column; ``needs`` says where it is named otherwise.
    """
    if name not in frame.columns:
        columns = [str(column) for column in frame.columns if column != SPLIT]
        more = f" and {len(columns) - _SHOWN} more" if len(columns) > _SHOWN else ""
        known = near(name, columns) or f"; its columns are {', '.join(map(repr, columns[:_SHOWN]))}{more}"
        raise DataError(f"{needs or option(argument)}: {path} has no column {name!r}{known}")
    return name


def is_text(column: pd.Series) -> bool:
    """True if a column holds anything but numbers, booleans and dates."""
    kinds = pd.api.types
    return not (kinds.is_numeric_dtype(column) or kinds.is_datetime64_any_dtype(column))


def holds_lists(column: pd.Series) -> bool:
    """True if a column holds lists or objects."""
    if not pd.api.types.is_object_dtype(column) or pd.api.types.infer_dtype(column) in ("string", "empty"):
        return False
    return bool(column.map(lambda value: isinstance(value, list | dict | np.ndarray)).any())


def as_texts(categories: pd.Categorical) -> np.ndarray:
    """Return categories as texts, ``(N,)`` objects, None where one is missing."""
    texts = np.array([*categories.categories, None], dtype=object)
    found: np.ndarray = texts[categories.codes]
    return found
