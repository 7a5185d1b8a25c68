"""What was written is what is read, or is refused, or is said: no value, row or column changes in silence."""

from __future__ import annotations

import os
import re
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from hypothesis import HealthCheck, event, given, settings
from sheets import Sheet, grouped_sheets, series_sheets, sheets

from anyformer.tasks import DataError, Task, open_data
from anyformer.tasks.forecasting import ForecastTask
from anyformer.tasks.labelled import LabelledTask

EXAMPLES = int(os.environ.get("ANYFORMER_FUZZ", "60"))
"""Files a test; 5,000 on demand."""
fuzz = settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=EXAMPLES <= 100,
    suppress_health_check=list(HealthCheck),
)


def inputs_of(task: LabelledTask) -> np.ndarray:
    """The columns ``(rows, columns)`` that a task reads, in the user's units and the order of the file."""
    standard = task._standard
    assert standard is not None
    values = task._x[..., 0] * np.array(standard.scale)[:, 0] + np.array(standard.mean)[:, 0]
    if standard.marks:
        values[task._x[..., 1] == 1] = np.nan
    return values


def assert_same(found: np.ndarray, made: np.ndarray, name: str, notes: list[str]) -> None:
    """Values are equal, or a note says that the column may be read otherwise."""
    size = max(1.0, float(np.nanmax(np.abs(made), initial=0)))
    if found.shape != made.shape or not np.allclose(found, made, rtol=1e-9, atol=1e-9 * size, equal_nan=True):
        said = [note for note in notes if repr(name) in note and "may be read in two ways" in note]
        assert said, f"{name}: {found[:5]} was {made[:5]}, and nothing is said of it in {notes}"
        event("read otherwise, and said")


def opened(sheet: Sheet, folder: str) -> Task | None:
    """The task that a sheet makes; None where it is refused, which must be in one sentence and for a reason."""
    path = sheet.save(Path(folder))
    try:
        return open_data(path, sheet.target, **sheet.options)
    except DataError as error:
        message = str(error)
    assert "\n" not in message
    assert re.search(sheet.refusal, message), message
    event(f"refused: {message.split(':')[-1][:30]}")
    return None


def assert_named(sheet: Sheet, read: list[str], notes: list[str]) -> None:
    """Every column that is no input is named in a note."""
    for name in {*sheet.truth, *sheet.others} - {*read, sheet.target}:
        assert any(repr(name) in note for note in notes), f"{name} is left out, and not in {notes}"
    for name in sheet.others:
        assert name not in read, f"{name} is an input"
    for name in sheet.odd:
        said = [
            note for note in notes if repr(name) in note and re.search("not numbers|beyond|left out", note)
        ]
        assert said, f"{name} holds no numbers, and {notes} does not say so"


@fuzz
@given(sheets())
def test_rows(sheet: Sheet) -> None:
    with TemporaryDirectory() as folder:
        task = opened(sheet, folder)
    if task is None:
        return
    assert isinstance(task, LabelledTask)
    notes, columns, known = task.notes(), task.describe()["columns"], sheet.known()
    values = inputs_of(task)
    assert len(values) == known.sum()
    for place, name in enumerate(columns):
        assert_same(values[:, place], sheet.truth[name][known], name, notes)
    assert_named(sheet, columns, notes)
    if sheet.labels is None:
        assert task._scale is not None
        told = task._y[:, 0] * task._scale[0] + task._shift[0]
        assert_same(told, sheet.truth[sheet.target][known], sheet.target, notes)
    else:
        assert task.classes is not None
        assert [task.classes[code] for code in task._y] == [label for label in sheet.labels if label]


@fuzz
@given(grouped_sheets())
def test_groups(sheet: Sheet) -> None:
    with TemporaryDirectory() as folder:
        task = opened(sheet, folder)
    if task is None:
        return
    assert isinstance(task, LabelledTask) and task._standard is not None and sheet.groups is not None
    notes, columns = task.notes(), task.describe()["columns"]
    standard = task._standard
    features = len(columns)
    values = task._x[..., :features] * np.array(standard.scale) + np.array(standard.mean)
    if standard.marks:
        values[task._x[..., features:] == 1] = np.nan
    mask = np.ones(values.shape[:2], bool) if task._mask is None else task._mask
    order = list(dict.fromkeys(sheet.groups))
    assert len(values) == len(order) and mask.sum() == len(sheet.groups)
    for number, group in enumerate(order):
        rows = [row for row, other in enumerate(sheet.groups) if other == group]
        for place, name in enumerate(columns):
            assert_same(values[number][mask[number]][:, place], sheet.truth[name][rows], name, notes)
    assert_named(sheet, columns, notes)


def rows_up_to_the_last_target(sheet: Sheet, group: str) -> np.ndarray:
    """A group's rows with a date, in the order of time, without the future."""
    assert sheet.dates is not None and sheet.groups is not None
    rows = np.flatnonzero((np.array(sheet.groups) == group) & ~np.isnat(sheet.dates))
    rows = rows[np.argsort(sheet.dates[rows], kind="stable")]
    known = np.flatnonzero(~np.isnan(sheet.truth[sheet.target][rows]))
    return rows[: known[-1] + 1] if len(known) else rows


@fuzz
@given(series_sheets())
def test_series(sheet: Sheet) -> None:
    with TemporaryDirectory() as folder:
        task = opened(sheet, folder)
    if task is None:
        return
    assert isinstance(task, ForecastTask) and sheet.dates is not None and sheet.groups is not None
    notes = task.notes()
    if any("have been averaged" in note for note in notes):
        event("averaged, and said")
        return
    assert_named(sheet, task.columns, notes)
    values = np.where(task._missing, np.nan, task._values)
    found = [values[task._owner == owner] for owner in np.unique(task._owner)]
    rows_of = [rows_up_to_the_last_target(sheet, group) for group in dict.fromkeys(sheet.groups)]
    rows_of = sorted((rows for rows in rows_of if len(rows)), key=min)
    if len(found) != len(rows_of):
        assert any("longer than" in note for note in notes)
        return
    for part, rows in zip(found, rows_of):
        if len(np.unique(sheet.dates[rows])) < len(rows):  # an hour that clocks show twice: in what order?
            event("an hour comes twice")
            continue
        made = np.stack([sheet.truth[name][rows] for name in task.columns], 1)
        for place, name in enumerate(task.columns):
            assert_same(
                part[~np.isnan(part).all(1)][:, place], made[~np.isnan(made).all(1)][:, place], name, notes
            )
