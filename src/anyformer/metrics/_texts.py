"""Texts of bytes, and the distance between texts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from anyformer.metrics._base import Metric
from anyformer.questions import Question


class OfTexts(Metric):
    """A metric of texts that are written byte by byte."""

    decodes = True

    @classmethod
    def refuses(cls, question: Question) -> str | None:
        """Refuse all questions but those for a text."""
        return (
            None
            if question.field == "byte" and question.stop is not None
            else "measures texts that are written"
        )


def texts_of(tokens: Tensor, stop: int | None) -> list[str]:
    """Return the texts of tokens ``(B, N)``: bytes up to the first ``stop``; other tokens, and negative ones, are none.

    Bytes that are not UTF-8 become a replacement character each (U+FFFD).
    """
    found = []
    for row in tokens.tolist():
        row = row[: row.index(stop)] if stop in row else row
        found.append(bytes(token for token in row if 0 <= token < 256).decode("utf-8", "replace"))
    return found


def edits(text: str, others: Sequence[str]) -> np.ndarray:
    """Return the fewest insertions, deletions and substitutions of a character between a text and others, ``(N,)``.

    The dynamic programme of Wagner and Fischer (1974), a row of it for all the others at once: the insertions within a
    row are a running minimum.
    """
    longest = max(map(len, others), default=0)
    table = np.full((len(others), longest), -1)
    for number, other in enumerate(others):
        table[number, : len(other)] = [ord(character) for character in other]
    place = np.arange(longest + 1)
    above = np.tile(
        place, (len(others), 1)
    )  # edits between the text's first i characters and the others' first j
    for i, character in enumerate(map(ord, text), 1):
        row = np.empty_like(above)
        row[:, 0] = i
        row[:, 1:] = np.minimum(above[:, 1:] + 1, above[:, :-1] + (table != character))
        above = np.minimum.accumulate(row - place, axis=1) + place
    found: np.ndarray = above[np.arange(len(others)), [len(other) for other in others]]
    return found
