"""Columns of categories in a table."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd

from anyformer.tables.columns import as_texts
from anyformer.tables.reading import Table
from anyformer.tasks.row_targets import class_name

_WHOLE = re.compile(r"(-?(?:0|[1-9][0-9]*))\.0+\Z")
FEWEST_GROUPS = 20
"""A column of fewer values may tell the label by itself: it does not name groups of rows."""
REPEATS = 0.2
"""A text is a category where the share of different values is at most this: each comes five times in the mean."""


def texts_of(table: Table, name: str) -> np.ndarray:
    """Return a column's values as texts, None where missing.

    Each depends on its own cell only, so that it is the same in every file: 7, "7" and "7.0" are one text; "07" is
    another, as codes may begin with zeros.
    """
    return as_texts(categories_of(table, name))


def categories_of(table: Table, name: str) -> pd.Categorical:
    """Return :func:`texts_of` as categories, in no order."""
    column = table.distinct(name)
    texts = [_WHOLE.sub(r"\1", class_name(value)) for value in column.cat.categories]
    codes, different = pd.factorize(np.array(texts, dtype=object))
    return pd.Categorical.from_codes(
        np.append(codes, -1)[column.cat.codes], pd.Index(different, dtype=object)
    )


def has_one_label_each(keys: pd.Series, labels: np.ndarray) -> bool:
    """True if the rows of each value have one label, as those of a group have, and chance does not explain it.

    Args:
        keys: the values, missing where there is none.
        labels: each row's label, as numbers, NaN where it is missing.
    """
    known = keys.notna().to_numpy() & ~np.isnan(labels)
    keys, labels = keys[known], labels[known]
    groups = keys.nunique()
    if groups < FEWEST_GROUPS or len(keys) - groups < FEWEST_GROUPS:
        return False
    _, counts = np.unique(labels, return_counts=True)
    alike = float(np.square(counts / len(labels)).sum())
    if (len(keys) - groups) * np.log10(alike) > -6:
        return False
    return bool((pd.Series(labels, keys.index).groupby(keys).nunique() == 1).all())


def has_codes(table: Table, name: str) -> bool:
    """True if whole numbers of a text file begin with zeros."""
    if name not in table.written:
        return False
    texts = pd.Series(table.distinct(name).dropna().unique().astype(object))
    return bool(texts.str.fullmatch("0[0-9]+").any())


def is_category(table: Table, name: str) -> bool:
    """True if a column of text has at least two values, missing counted as one, and they repeat (``REPEATS``)."""
    texts = table.distinct(name)
    known = texts.dropna()
    return texts.nunique(dropna=False) >= 2 and known.nunique() <= REPEATS * len(known)
