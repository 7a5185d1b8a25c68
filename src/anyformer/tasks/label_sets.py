"""Several labels a row: a column of lists, or several columns of 0 and 1."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from torch import Tensor

from anyformer.errors import DataError
from anyformer.spelling import option
from anyformer.tables.columns import holds_lists, is_text
from anyformer.tables.objects import read_json
from anyformer.tables.reading import Table
from anyformer.tables.writing import significant
from anyformer.tasks.row_targets import class_name, targets_of

_USUAL = ("labels", "label", "target", "class", "y")
"""Names of a column of lists that is the target where none is given."""


@dataclass(frozen=True)
class Targets:
    """The targets of rows.

    Attributes:
        y: classes ``(N,)`` int64, numbers ``(N, M)`` float, or which labels are there ``(N, L)`` bool.
        classes, labels: names of the classes, or of the labels; None of other targets.
    """

    y: np.ndarray
    classes: list[str] | None = None
    labels: list[str] | None = None

    @property
    def named(self) -> dict[str, Any]:
        """The names as arguments of a task."""
        return {"classes": self.classes, "labels": self.labels}


def with_label_sets(
    table: Table, targets: list[str], kind: str | None, remarks: list[str]
) -> tuple[Table, list[str], str | None]:
    """Return the table, the targets and the kind, with lists of labels as sorted tuples of texts.

    A target that holds lists is one of labels, and so is a column of lists that has a usual name where no target is
    given. A missing list stays missing; an empty one is no label.

    Raises:
        DataError: a list holds anything but texts and numbers; or labels are asked for, and a column holds others.
    """
    frame = table.frame
    if not targets and kind in (None, "labels"):
        usual = [name for name in frame.columns if name.lower() in _USUAL and _holds_sets(frame[name])]
        if usual:
            targets = usual[:1]
            remarks.append(f"target not given: taken to be {usual[0]!r}")
    if kind == "labels" and len(targets) == 1:
        frame = _with_lists(table, targets[0])
    lists = [name for name in targets if _holds_sets(frame[name])]
    if kind not in (None, "labels") or not (lists or kind == "labels"):
        return table, targets, kind
    if not targets:
        raise DataError(
            f"{table.path}: {option('target')} must name the column of lists, or the columns of 0 and 1, that hold the "
            "labels"
        )
    if lists and len(targets) > 1:
        raise DataError(
            f"{option('target')}: {lists[0]!r} of {table.path} holds lists, and must be given alone"
        )
    if not lists:
        for name in targets:
            _check_truth(table, name)
        remarks.append(f"{len(targets)} columns of 0 and 1 are labels, of which a row may have any number")
        return table, targets, "labels"
    name, repeated = lists[0], 0
    found = np.empty(len(frame), object)
    for place, (row, value) in enumerate(frame[name].items()):
        found[place], twice = _labels_in(value, f"{table.path}: {name!r} in row {int(row) + 1}")
        repeated += twice
    remarks.append(f"{name!r} holds lists: a row may have any number of labels")
    if repeated:
        remarks.append(f"{repeated} rows have a label twice in {name!r}, which counts once")
    frame = frame.assign(**{name: pd.Series(found, frame.index, dtype=object)})
    return replace(table, frame=frame), targets, "labels"


def _holds_sets(column: pd.Series) -> bool:
    """True if a column holds lists, and no objects."""
    return holds_lists(column) and not column.map(lambda value: isinstance(value, dict)).any()


def _with_lists(table: Table, name: str) -> pd.DataFrame:
    """Return the columns; texts in that of the name become lists where they are JSON, as a CSV file may have it."""
    texts = table.frame[name].dropna()
    if not is_text(texts) or not len(texts) or not texts.map(lambda text: str(text).strip()[:1] == "[").all():
        return table.frame
    lists = [read_json(str(text), f"{table.path}: {name!r} in row {row + 1}") for row, text in texts.items()]
    return table.frame.assign(**{name: pd.Series(lists, texts.index, dtype=object)})


def _labels_in(value: Any, where: str) -> tuple[tuple[str, ...] | None, bool]:
    """Return the labels in a cell, and whether one repeats."""
    if value is None or value is pd.NA or (isinstance(value, float) and value != value):
        return None, False
    if not isinstance(value, list | tuple | np.ndarray):
        raise DataError(f"{where} must hold a list of labels as in other rows, got {value!r:.40}")
    plain = [one.item() if isinstance(one, np.generic) else one for one in value]
    for one in plain:
        if not isinstance(one, str | int | float) or one != one:
            raise DataError(
                f"{where} must hold a list of labels, which are texts or numbers, got {one!r:.40} in it"
            )
    names = [class_name(one).strip() for one in plain]
    if "" in names:
        raise DataError(f"{where} holds an empty label")
    return tuple(sorted({*names})), len({*names}) < len(names)


def _check_truth(table: Table, name: str) -> None:
    values = table.numbers(name)
    if values is None:
        raise DataError(
            f"{option('target')}: column {name!r} of {table.path} must hold lists of labels, or be one of several "
            f"columns of 0 and 1, got {table.shown(name)}"
        )
    odd = values[~(values.isna() | values.isin((0, 1)))]
    if len(odd):
        raise DataError(
            f"{option('target')}: column {name!r} of {table.path} must hold 0 or 1 to be a label, got {odd.iloc[0]:g} "
            f"in row {int(odd.index[0]) + 1}"
        )


def read_targets(table: Table, targets: Sequence[str], kind: str | None, remarks: list[str]) -> Targets:
    """Return the targets of rows that have them, see :func:`anyformer.tasks.row_targets.targets_of`, labels included.

    Raises:
        DataError: they cannot be used.
    """
    if kind != "labels":
        y, classes = targets_of(table, targets, kind, remarks)
        return Targets(y, classes)
    if len(targets) > 1 or table.numbers(targets[0]) is not None:
        columns = [table.numbers(name) for name in targets]
        there = np.stack([column.to_numpy() > 0 for column in columns if column is not None], 1)
        return Targets(there, labels=list(targets))
    sets = table.frame[targets[0]]
    names = sorted({name for one in sets for name in one})
    if len(names) > 20 and len(names) > 0.5 * sum(map(len, sets)):
        raise DataError(
            f"{option('target')}: column {targets[0]!r} of {table.path} has {len(names)} different labels among "
            f"{sum(map(len, sets))}; a label must repeat"
        )
    places = {name: place for place, name in enumerate(names)}
    there = np.zeros((len(sets), len(names)), bool)
    for row, one in enumerate(sets):
        there[row, [places[name] for name in one]] = True
    return Targets(there, labels=names)


def rarest_of(there: np.ndarray) -> np.ndarray:
    """Return the rarest label of each sample ``(N,)`` from 1 on, 0 where it has none; for strata."""
    counts = np.where(there, there.sum(0)[None], len(there) + 1)
    found: np.ndarray = (
        np.where(there.any(1), counts.argmin(1) + 1, 0) if there.shape[1] else np.zeros(len(there), int)
    )
    return found


def about_labels(there: np.ndarray, names: Sequence[str], noun: str) -> list[str]:
    """Return remarks on the number of labels, and on rare ones."""
    shares = there.sum(1)
    told = [
        f"{len(names)} labels, {shares.mean():.2g} for a {noun} on average, and none for "
        f"{int((shares == 0).sum())} of {len(there)}"
    ]
    rare = [name for name, count in zip(names, there.sum(0)) if count < 3]
    if rare:
        told.append(f"fewer than 3 {noun}s have the label {_listed(rare)}")
    return told


def without_unknown(
    there: np.ndarray, names: Sequence[str], train: np.ndarray, noun: str, remarks: list[str]
) -> tuple[np.ndarray, list[str]]:
    """Return the labels that training has, with a remark on the others, which no model can tell."""
    known = there[train].any(0)
    if known.all():
        return there, list(names)
    gone = [name for name, one in zip(names, known) if not one]
    count = int(there[:, ~known].any(1).sum())
    remarks.append(
        f"left out, as no training {noun} has them, of the truth too: the label{'s' * (len(gone) > 1)} "
        f"{_listed(gone)}, in {count} {noun}s of validation and test"
    )
    return there[:, known], [name for name, one in zip(names, known) if one]


def label_columns(targets: Sequence[str], names: Sequence[str], outputs: Tensor) -> dict[str, Any]:
    """Return the labels of each row of logits ``(B, L)`` whose probability is above 0.5, and the probability of each.

    They are lists in a column of the target's name; where targets are columns of 0 and 1, so are these.
    """
    shares = outputs.detach().cpu().double().sigmoid().numpy()
    told = shares > 0.5
    found: dict[str, Any] = {}
    if len(targets) > 1:
        for name in targets:
            found[name] = (
                told[:, names.index(name)].astype(int) if name in names else np.zeros(len(told), int)
            )
    else:
        found[targets[0]] = pd.Series(
            [[name for name, one in zip(names, row) if one] for row in told], dtype=object
        )
    shares = significant(shares, np.ones(1))
    return {**found, **{f"p({name})": shares[:, place] for place, name in enumerate(names)}}


def _listed(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names[:8])) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
