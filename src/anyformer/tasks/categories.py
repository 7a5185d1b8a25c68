"""Categories: fitted on the train split, encoded as codes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict

MISSING, OTHER, FIRST = 0, 1, 2
"""Codes: of a missing value, of one that the train split has at most once, and of the most frequent category."""
MOST = 10_000
"""The most categories of a column; the rarest beyond them are one."""

Texts: TypeAlias = np.ndarray | pd.Categorical
"""Texts as objects, None where one is missing, or the same as categories."""


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
    def fit(cls, name: str, texts: Texts, most: int | None = None) -> Category:
        """Return the category of the train split's texts, None where missing.

        Values seen once get no code, and neither do the rarest beyond the ``most`` frequent, by default ``MOST``.
        """
        codes, different = factorized(texts)
        counts = dict(zip(different, np.bincount(codes[codes >= 0], minlength=len(different)).tolist()))
        order = sorted(
            (text for text in different if counts[text] > 1), key=lambda text: (-counts[text], text)
        )
        return cls(name=name, values=order[: MOST if most is None else most])

    def encode(self, texts: Texts) -> np.ndarray:
        """Return the codes of texts, int64 in the same shape."""
        codes, different = factorized(texts)
        known = {text: FIRST + place for place, text in enumerate(self.values)}
        found = np.array([*(known.get(text, OTHER) for text in different), MISSING], dtype=np.int64)
        return found[codes].reshape(texts.shape)

    def unknown(self, texts: Texts) -> list[str]:
        """Return the different texts without a code, sorted."""
        codes, different = factorized(texts)
        there = np.bincount(codes[codes >= 0], minlength=len(different)) > 0
        return sorted({text for text, some in zip(different, there) if some} - {*self.values})


def factorized(texts: Texts) -> tuple[np.ndarray, list[str]]:
    """Return the number of each text ``(N,)``, -1 where it is missing, and the different texts."""
    if isinstance(texts, pd.Categorical):
        return texts.codes, texts.categories.tolist()
    codes, different = pd.factorize(texts.ravel())
    return codes, list(different)


def describe_categories(
    categories: Sequence[Category], texts: Mapping[str, Texts], remarks: list[str]
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
