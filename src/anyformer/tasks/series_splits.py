"""Forecasts into splits that follow each other in time: by shares of it, or as the user has split them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pandas as pd

from anyformer.dates.calendar import Step
from anyformer.dates.reading import DateReading
from anyformer.errors import DataError
from anyformer.spelling import option
from anyformer.tables.reading import Table
from anyformer.tasks.base import SPLITS
from anyformer.tasks.splits import WORDS

SHORTEST_SERIES = 30
"""Fewest steps that are split by shares."""
BORDERS = (0.6, 0.8)
"""Where validation and test begin, as shares of the time."""
VALID_SHARE = 0.2
"""Share of the training part that becomes the validation part where none is given."""


def borders_by_share(places: np.ndarray, end: int, name: str) -> list[int]:
    """Return where validation and test begin and test ends: 60, 20 and 20 % of the places with a known value.

    Args:
        places: ascending indices on the grid.
        end: the index after the last step.
        name: of the data, for messages.

    Raises:
        DataError: there are too few.
    """
    if len(places) < SHORTEST_SERIES:
        raise DataError(
            f"{name}: {len(places)} time steps are too short; at least {SHORTEST_SERIES} are needed"
        )
    return [*(int(places[round(share * len(places))]) for share in BORDERS), end]


def moments_in(split: str) -> list[str] | None:
    """Return the dates or row numbers in a split such as ``2017-06-26,2017-10-24``; None if it is none of these.

    They say where validation begins, where test begins and, on demand, where it ends.
    """
    found = [part.strip() for part in split.split(",")]
    return found if len(found) > 1 and all(part[:1].isdigit() for part in found) else None


def borders_by_moments(
    moments: Sequence[str], step: Step | None, origin: np.datetime64 | None, end: int
) -> list[int]:
    """Return where validation and test begin and test ends, of :func:`moments_in`.

    Args:
        moments: dates as ISO 8601 writes them, or numbers of rows counted from 1 where there is no step.
        step, origin: of the grid of dates; None if the rows are taken in order.
        end: the index after the last step.

    Raises:
        ValueError: they are not two or three dates or numbers, ascending and inside the data.
    """
    what = "numbers of rows" if step is None else "dates such as 2017-06-26 or 2017-06-26T08:00"
    wrong = (
        f"{option('split', ','.join(moments))} must be two or three {what}, ascending and inside the data: where "
        "validation begins, where test begins and, on demand, where it ends"
    )
    try:
        if step is None or origin is None:
            found = [int(moment) - 1 for moment in moments]
        else:
            dates = np.array([np.datetime64(moment) for moment in moments]).astype(origin.dtype)
            found = [int(place) for place in np.ceil(_places(step, dates, origin))]
    except ValueError:
        raise ValueError(wrong) from None
    found = found if len(found) == 3 else [*found, end]
    if len(found) != 3 or not 0 < found[0] < found[1] < found[2] <= end:
        raise ValueError(wrong)
    return found


def _places(step: Step, dates: np.ndarray, origin: np.datetime64) -> np.ndarray:
    """Return the index of the first step at or after each date."""
    near = step.index(dates, origin)
    return near + (step.dates(near, origin) < dates)


def borders_by_column(table: Table, name: str, places: pd.Series) -> list[int]:
    """Return where validation and test begin and test ends, by a column that names the split of each row.

    Without validation rows, the last fifth of the training part is for validation.

    Args:
        table: of the series.
        name: of the column.
        places: the index of each row on the grid.

    Raises:
        DataError: the column holds another word than :data:`anyformer.tasks.splits.WORDS`, or there is no training or
            test row, or the splits do not follow each other in time.
    """
    texts = table.keys(name).loc[places.index]
    words = texts.map(lambda text: WORDS.get(str(text).strip().casefold()), na_action="ignore")
    where = f"{option('split')}: column {name!r} of {table.path}"
    odd = texts[words.isna()]
    if len(odd):
        first = "an empty cell" if pd.isna(odd.iloc[0]) else repr(odd.iloc[0])
        raise DataError(
            f"{where} must hold one of {', '.join(WORDS)} in each row, got {first} in row {int(odd.index[0]) + 1}"
        )
    spans = {split: places[words == split] for split in SPLITS}
    for split in ("train", "test"):
        if spans[split].empty:
            raise DataError(f"{where} names no row {split}")
    begin = {split: int(rows.min()) for split, rows in spans.items() if len(rows)}
    end = {split: int(rows.max()) + 1 for split, rows in spans.items() if len(rows)}
    given = [split for split in SPLITS if split in begin]
    for before, after in pairwise(given):
        if end[before] > begin[after]:
            raise DataError(
                f"{where} has {before} rows at or after the first {after} row: splits of forecasts follow each other "
                "in time, for all series at once"
            )
    cut = begin.get("valid", round((1 - VALID_SHARE) * end["train"]))
    return [cut, begin["test"], end["test"]]


def borders_as_given(
    split: str,
    table: Table,
    places: pd.Series,
    grid: tuple[Step, np.datetime64, DateReading] | None,
    remarks: list[str],
) -> list[int]:
    """Return where validation and test begin and test ends, as the user's ``split`` says, with a remark.

    Args:
        split: a column of the table, or see :func:`moments_in`.
        table: of the series.
        places: the index of each row on the grid.
        grid: its step, the date of index 0 and the format of dates; None if the rows are taken in order.
        remarks: take the remark.
    """
    end, moments = int(places.max()) + 1, moments_in(split)
    if split in table.frame.columns or moments is None:
        borders = borders_by_column(table, split, places)
    else:
        step, origin = (None, None) if grid is None else grid[:2]
        borders = borders_by_moments(moments, step, origin, end)
    valid, test, last = (_written(place, grid) for place in borders)
    told = f"the splits are as given: validation begins at {valid}, test at {test}"
    if borders[2] < end:
        told += f" and ends before {last}: the {end - borders[2]} steps from there on are in no split"
    remarks.append(told)
    return borders


def _written(place: int, grid: tuple[Step, np.datetime64, DateReading] | None) -> str:
    if grid is None:
        return f"row {place + 1}"
    step, origin, reading = grid
    return " ".join(
        text for texts in reading.write(step.dates(np.array([place]), origin)).values() for text in texts
    )
