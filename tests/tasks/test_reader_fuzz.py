"""What was written is what is read, or is refused, or is said: no value, row or column changes in silence."""

from __future__ import annotations

import os
import re
from collections.abc import Collection
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


def numbers_of(task: LabelledTask) -> dict[str, np.ndarray]:
    """The columns of numbers that a task reads, in the user's units: ``(N,)`` of rows, ``(N, T)`` of groups."""
    encoding, x = task.encoding, task._x
    assert encoding is not None
    names, standard = encoding.layout.columns, encoding.standard
    if standard is None:
        assert not names
        return {}
    by_row = encoding.layout.kind == "columns"
    if isinstance(x, dict):
        x = np.stack([x[name] for name in names], 1) if by_row else x[encoding.numbers_name]
    width = x.shape[-1] // 2 if standard.marks else x.shape[-1]
    values = x[..., :width] * np.array(standard.scale) + np.array(standard.mean)
    if standard.marks:
        values[x[..., width:] == 1] = np.nan
    return {name: values[:, place, 0] if by_row else values[..., place] for place, name in enumerate(names)}


def texts_of(task: LabelledTask) -> dict[str, np.ndarray]:
    """The columns of categories that a task reads, as texts: None where one is missing, "*" where it is rare."""
    encoding, found = task.encoding, {}
    assert encoding is not None
    for category in encoding.categories:
        assert isinstance(task._x, dict)
        texts = np.array([None, "*", *category.values], object)
        found[category.name] = texts[task._x[category.name]]
    return found


def assert_same_texts(found: np.ndarray, cells: list[str], name: str) -> None:
    """Categories are the texts of the file, but for those that are rare."""
    told = [text for text in found if text != "*"]
    made = [cell.strip() or None for cell, text in zip(cells, found, strict=True) if text != "*"]
    assert told == made, f"{name}: {told[:5]} was {made[:5]}"


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
    # beside names of rows an empty last column looks like a separator at the end of each line
    allowed = sheet.refusal + ("|begin with what may be names of rows" if "named" in sheet.extras else "")
    assert re.search(allowed, message), message
    event(f"refused: {message.split(':')[-1][:30]}")
    return None


def first_row_is_left_out(sheet: Sheet, notes: list[str]) -> bool:
    """True if a note says that the first row is one of units, which only one without a number may be."""
    said = any("row 1 holds units" in note for note in notes)
    assert not said or all(np.isnan(values[0]) for values in sheet.truth.values())
    if said:
        event("no number in the first row, and said")
    return said


def assert_named(sheet: Sheet, read: list[str], notes: list[str], categories: Collection[str] = ()) -> None:
    """Every column that is no input, or is a category, is named in a note."""
    for name in {*sheet.truth, *sheet.others} - ({*read, sheet.target} - {*categories}):
        assert any(repr(name) in note for note in notes), f"{name} is left out, and not in {notes}"
    for name in {*sheet.others} - {*categories}:
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
    notes, columns, known = task.notes(), task.describe().get("columns", []), sheet.known()
    if not columns:  # nothing but texts is left
        assert task.describe()["text"] == "note" and re.search(sheet.refusal, " ".join(notes))
        assert_named(sheet, columns, notes)
        return
    if first_row_is_left_out(sheet, notes):
        return
    numbers, texts = numbers_of(task), texts_of(task)
    assert columns == [*numbers, *texts] and set(texts) == {"city"} & {*sheet.others}
    for name, values in numbers.items():
        assert_same(values, sheet.truth[name][known], name, notes)
    for name, values in texts.items():
        assert_same_texts(values, [cell for cell, row in zip(sheet.cells[name], known) if row], name)
    assert_named(sheet, columns, notes, texts)
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
    assert isinstance(task, LabelledTask) and sheet.groups is not None
    notes, columns = task.notes(), task.describe()["columns"]
    if first_row_is_left_out(sheet, notes):
        return
    numbers, texts = numbers_of(task), texts_of(task)
    assert columns == [*numbers, *texts] and set(texts) == {"city"} & {*sheet.others}
    shape = next(iter(numbers.values())).shape
    mask = np.ones(shape, bool) if task._mask is None else task._mask
    order = list(dict.fromkeys(sheet.groups))
    assert len(mask) == len(order) and mask.sum() == len(sheet.groups)
    for number, group in enumerate(order):
        rows = [row for row, other in enumerate(sheet.groups) if other == group]
        for name, values in numbers.items():
            assert_same(values[number][mask[number]], sheet.truth[name][rows], name, notes)
        for name, values in texts.items():
            assert_same_texts(values[number][mask[number]], [sheet.cells[name][row] for row in rows], name)
    assert_named(sheet, columns, notes, texts)


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
    if first_row_is_left_out(sheet, notes):
        return
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
