"""Categories: fitted on the train split, encoded as codes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict

MISSING, OTHER, FIRST = 0, 1, 2
"""Codes: of a missing value, of one that the train split has at most once, and of the most frequent category."""
MOST = 10_000
"""The most categories of a column; the rarest beyond them are one."""


class Category(BaseModel):
    """A fitted column of categories.

    Attributes:
        name: of the column.
        values: the texts of codes from ``FIRST`` on, the most frequent first.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    values: list[str]

    @property
    def size(self) -> int:
        """Number of codes."""
        return FIRST + len(self.values)

    @classmethod
    def fit(cls, name: str, texts: np.ndarray, most: int | None = None) -> Category:
        """Return the category of the train split's texts, None where missing.

        Values seen once get no code, and neither do the rarest beyond the ``most`` frequent, by default ``MOST``.
        """
        counts = pd.Series(texts.ravel()).value_counts()
        counts = counts[counts > 1]
        order = sorted(counts.index, key=lambda text: (-counts[text], text))
        return cls(name=name, values=order[: MOST if most is None else most])

    def encode(self, texts: np.ndarray) -> np.ndarray:
        """Return the codes of texts, int64 in the same shape."""
        flat = pd.Series(texts.ravel(), dtype=object)
        codes = flat.map({text: FIRST + place for place, text in enumerate(self.values)})
        found = np.where(flat.isna(), MISSING, codes.fillna(OTHER)).astype(np.int64)
        return found.reshape(texts.shape)

    def unknown(self, texts: np.ndarray) -> list[str]:
        """Return the different texts without a code, sorted."""
        return sorted(set(texts[self.encode(texts) == OTHER].tolist()))


def describe_categories(
    categories: Sequence[Category], texts: Mapping[str, np.ndarray], remarks: list[str]
) -> None:
    """Add a remark for each category: its values, those without a code, those missing."""
    for category in categories:
        rest = len(category.unknown(texts[category.name]))
        beyond = f", or that are beyond the {MOST:,} most frequent," if len(category.values) == MOST else ""
        once = f"; {rest} more that training shows at most once{beyond} are read as one" if rest else ""
        gone = int((category.encode(texts[category.name]) == MISSING).sum())
        missing = f"; {gone} are missing, which is a category of its own" if gone else ""
        count = len(category.values)
        remarks.append(
            f"{category.name!r} is read as a category of {count} value{'s' * (count != 1)}{once}{missing}"
        )
