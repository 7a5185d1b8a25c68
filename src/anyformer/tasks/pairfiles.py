"""Tables with two columns of text, one of which is written from the other."""

from __future__ import annotations

from dataclasses import fields

import numpy as np

from anyformer.errors import DataError
from anyformer.spelling import option
from anyformer.tables.reading import Table
from anyformer.tasks.choices import Choices
from anyformer.tasks.pair_encoding import PairEncoding, texts_in
from anyformer.tasks.pairs import PairTask
from anyformer.tasks.splits import splits_of

TAKEN = {"targets", "kind", "text", "length", "split", "convention", "seed"}
"""Choices that apply to pairs."""
LEAST = 10
"""The fewest pairs that can be split."""


def open_pairs(table: Table, choices: Choices, remarks: list[str]) -> PairTask:
    """Return the task of writing the text of one column from that of another.

    Raises:
        DataError: a column is missing, or too few rows have both texts.
    """
    others = [field.name for field in fields(choices) if field.name not in TAKEN]
    choices.refuse("pairs of texts", *others)
    if len(choices.targets) != 1:
        got = ", ".join(map(repr, choices.targets)) or "none"
        raise DataError(
            f"{table.path}: {option('target')} must name the column of texts to write, one of "
            f"{', '.join(map(repr, table.frame.columns))}, got {got}"
        )
    (target,) = choices.targets
    text = choices.text or _other_text(table, target, choices)
    if text == target:
        raise ValueError(
            f"{option('text')} and {option('target')} must name two columns, got {text!r} for both"
        )
    used = {text, target, *choices.split_column}
    if unread := [repr(name) for name in table.frame.columns if name not in used]:
        remarks.append(f"left out: {', '.join(unread)}, as {target!r} is written from {text!r} alone")
    columns = [texts_in(table, name) for name in (text, target)]
    for name in (text, target):
        remarks.extend(table.of_marks(name))
    known = columns[0].notna() & columns[1].notna()
    if not known.all():
        remarks.append(
            f"{int((~known).sum())} of {len(known)} rows lack {text!r} or {target!r}, or have an empty text there, and "
            "are left out"
        )
    if known.sum() < LEAST:
        raise DataError(
            f"{table.path}: {int(known.sum())} rows have both {text!r} and {target!r}; at least {LEAST} are needed"
        )
    split: np.ndarray | None = None
    if choices.split is not None:
        split = splits_of(table, choices.split, remarks)[known.to_numpy()]
    layout = choices.layout(table, kind="text", text=text)
    return PairTask(
        columns[0][known].tolist(),
        columns[1][known].tolist(),
        name=table.path.stem,
        encoding=PairEncoding(layout=layout, target=target, source_length=1, target_length=1),
        length=choices.length,
        split=split,
        seed=choices.seed,
        remarks=remarks,
    )


def _other_text(table: Table, target: str, choices: Choices) -> str:
    """Return the only other column; ``DataError`` if there are several."""
    others = [str(name) for name in table.frame.columns if name not in {target, *choices.split_column}]
    if len(others) == 1:
        return others[0]
    raise DataError(
        f"{table.path}: {option('text')} must name the column of texts that {target!r} is written from, one of "
        f"{', '.join(map(repr, others))}"
    )
