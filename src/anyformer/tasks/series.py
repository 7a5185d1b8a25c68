"""SeriesRows with dates as series on a regular grid."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from anyformer.dates.calendar import Step, infer_step
from anyformer.dates.columns import read_dates
from anyformer.dates.forms import TIMES_OF_DAY, part_of
from anyformer.dates.reading import DateReading, Dates
from anyformer.errors import DataError
from anyformer.spelling import option
from anyformer.tasks.calendar_features import calendar_features
from anyformer.tasks.steps import Series

LONGEST_GAP = 1000


@dataclass(frozen=True)
class SeriesRows:
    """The rows of a table of series.

    Attributes:
        frame: columns of numbers, NaN where missing, and of texts, None where missing.
        groups: the series of each row, missing where it has none.
        numbers, fixed, texts: names of the columns of numbers that windows normalise, of other numbers, of categories.
        static: which of ``fixed`` and ``texts`` are the same in all rows of a series.
    """

    frame: pd.DataFrame
    groups: pd.Series
    numbers: list[str]
    fixed: list[str]
    texts: list[str]
    static: list[str]

    def __getitem__(self, mask: pd.Series) -> SeriesRows:
        return replace(self, frame=self.frame[mask], groups=self.groups[mask])

    def by_series(self) -> Iterator[tuple[str, pd.DataFrame]]:
        """Yield the name and the rows of each series, in the order of their first rows."""
        for name, rows in self.frame.groupby(self.groups, sort=False):
            yield str(name), rows

    def at(self, rows: pd.DataFrame, places: np.ndarray) -> pd.DataFrame:
        """Return rows at their places on the grid: means of the numbers, and the last text, of those that share one."""
        if pd.Index(places).is_unique:
            return rows.set_axis(places).sort_index()
        found = rows.groupby(places)[[*self.numbers, *self.fixed]].mean()
        return found.join(rows.groupby(places)[self.texts].last()) if self.texts else found

    def series(self, rows: pd.DataFrame, start: int, name: str) -> Series:
        """Return the rows of one series, one a step from ``start``, where what is static has no gaps."""
        same = {one: rows[one].dropna().head(1) for one in self.static}
        texts = {one: rows[one].to_numpy(object, copy=True) for one in self.texts}
        fixed = rows[self.fixed].to_numpy(np.float64, copy=True)
        for one, value in same.items():
            if len(value) and one in texts:
                texts[one][:] = value.iloc[0]
            elif len(value):
                fixed[:, self.fixed.index(one)] = value.iloc[0]
        for text in texts.values():
            text[pd.isna(text)] = None
        return Series(rows[self.numbers].to_numpy(np.float64), start, name, fixed, texts)


def dated_rows(rows: SeriesRows, dated: Dates, remarks: list[str]) -> tuple[SeriesRows, pd.Series]:
    """Return the rows that have a date and a group, and their dates."""
    name, dates = dated.name, dated.instants.loc[rows.frame.index]
    usable = dates.notna() & rows.groups.notna()
    if not usable.all():
        remarks.append(f"{int((~usable).sum())} rows have no readable date or group and are left out")
    rows, dates = rows[usable], dates[usable]
    if not all(group.is_monotonic_increasing for _, group in dates.groupby(rows.groups)):
        remarks.append(f"rows were not in the order of {name!r} and have been sorted")
    return rows, dates


def known_rows(
    rows: SeriesRows,
    dates: pd.Series | None,
    targets: list[str],
    remarks: list[str],
    *,
    unused: Sequence[str],
    trained: bool,
) -> pd.Series:
    """Return a mask of the rows up to the last known target of each group.

    Those after it are to be forecast. A remark names ``unused`` columns that have values there, and the option that
    uses them, unless the model is ``trained`` already.
    """
    table, groups = rows.frame, rows.groups
    order = pd.Series(np.arange(len(table)), table.index) if dates is None else dates
    known = table[targets].notna().any(axis=1) & order.notna() & groups.notna()
    if not known.any():
        return pd.Series(True, table.index)
    last = groups.map(order[known].groupby(groups[known]).max())
    ahead = last.notna() & (order > last)
    if ahead.any():
        what = " or ".join(map(repr, targets[:3])) + (" ..." if len(targets) > 3 else "")
        also = [name for name in unused if name not in targets and table.loc[ahead, name].notna().any()]
        told = f"the last {int(ahead.sum())} rows have no {what}: they are the future to be forecast"
        if also:
            told += (
                f"; {', '.join(map(repr, also))}, known there, {'are' if len(also) > 1 else 'is'} not used"
            )
            told += (
                "" if trained else f" unless {option('known', also[0] if len(also) == 1 else also)} says so"
            )
        remarks.append(told)
    return ~ahead


def find_step(path: Path, dates: Dates, groups: pd.Series) -> tuple[Step, bool, Dates]:
    """Return the step of the largest group, whether its dates keep to it, and the dates in local time or UTC.

    Dates with a zone are counted in local time or in UTC, whichever keeps to the step more exactly: across changes of
    daylight saving, days are regular in local time and hours in UTC. If both are, steps shorter than a day are counted
    in UTC and others in local time.
    """
    largest, zoned = groups.value_counts().index, dates.reading.zone not in (None, "UTC")
    here = groups == largest[0] if len(largest) else groups.notna()
    found = []
    for absolute in (False, True) if zoned or not dates.clock.equals(dates.instants) else (False,):
        one = dates.counted(absolute)
        distinct = np.unique(one.values.loc[groups.index][here].to_numpy())
        if len(distinct) < 3:
            raise DataError(
                f"{path}: {len(distinct)} different dates in {dates.name!r} are too few for a series"
            )
        step, regular = infer_step(distinct)
        exact = float(np.mean(step.dates(step.index(distinct, distinct[0]), distinct[0]) == distinct))
        lost = int(here.sum()) - len(distinct)  # the repeated hour in autumn
        found.append((exact - lost / max(len(here), 1), absolute == (step.roughly() < 1), step, regular, one))
    _, _, step, regular, best = max(found, key=lambda one: one[:2])
    return step, regular, best


def in_order(rows: SeriesRows) -> list[Series]:
    """Return the rows of each group as a series, one step each."""
    return [rows.series(mine, 0, name) for name, mine in rows.by_series()]


def on_grid(
    rows: SeriesRows, dated: Dates, step: Step, origin: np.datetime64, remarks: list[str]
) -> tuple[list[Series], dict[str, Any]]:
    """Return the rows of each group on one regular grid from ``origin``, with gaps where it has none."""
    name, dates = dated.name, dated.values
    parts, gaps, merged, breaks, first_gap = [], 0, 0, 0, None
    between = dict[str, bool]()
    for group, mine in rows.by_series():
        places = step.index(dates.loc[mine.index].to_numpy(), origin)
        between[group] = lies_between(dates.loc[mine.index].to_numpy(), places, step, origin)
        values = rows.at(mine, places)
        merged += len(mine) - len(values)
        places = values.index.to_numpy()
        runs = np.split(places, np.flatnonzero(np.diff(places) > LONGEST_GAP) + 1)
        breaks += len(runs) - 1
        for run in runs:
            whole = np.arange(run[0], run[-1] + 1)
            gone = np.setdiff1d(whole, run)
            gaps += len(gone)
            if len(gone) and first_gap is None:
                first_gap = _shown(dated.reading, step.date(int(gone[0]), origin))
            parts.append(rows.series(values.reindex(whole), int(whole[0]), group))
    apart = [group for group, told in between.items() if told]
    if 0 < len(apart) < len(between):
        remarks.append(
            f"dates of {len(apart)} of {len(between)} series lie between the steps of the others ({apart[0]!r}, ...): "
            f"each is taken for the nearest step of {step}, and forecasts are dated as those of the others"
        )
    if merged:
        last = ", the last of categories counts" if rows.texts else ""
        remarks.append(f"{merged} rows share a step of {step} with another and have been averaged{last}")
    if gaps:
        remarks.append(
            f"{gaps} steps of {step} are absent from {name!r} (the first at {first_gap}); treated as missing"
        )
    if breaks:
        remarks.append(
            f"{breaks} gaps are longer than {LONGEST_GAP} steps of {step}: no window reaches across them"
        )
    return parts, {"date": name, "step": str(step), "absent_steps": gaps}


def lies_between(dates: np.ndarray, places: np.ndarray, step: Step, origin: np.datetime64) -> bool:
    """True if most of these dates are not those of their places on the grid."""
    return bool(len(dates)) and float(np.mean(step.dates(places, origin) == dates)) < 0.5


def with_calendar(
    parts: Sequence[Series], features: Sequence[str], step: Step, origin: np.datetime64
) -> list[Series]:
    """Return series with features of the dates of their steps behind the other covariates."""
    found = []
    for part in parts:
        dates = step.dates(part.start + np.arange(len(part.values)), origin)
        more = calendar_features(dates, features)
        found.append(replace(part, covariates=np.concatenate([part.covariates, more], 1)))
    return found


def _shown(reading: DateReading, date: np.datetime64) -> str:
    return " ".join(text for texts in reading.write(np.array([date])).values() for text in texts)


def check_repeats(
    path: Path, frame: pd.DataFrame, dates: pd.Series, groups: pd.Series, dated: Dates, given: list[str]
) -> None:
    """Raise ``DataError`` if dates repeat so often that the ``given`` group columns cannot identify all series."""
    keys = pd.DataFrame({"date": dates, "group": groups})
    repeated = keys.duplicated().mean()
    if repeated <= 0.05:
        return
    name, columns = dated.name, dated.reading.columns
    few = [str(column) for column in frame.columns if frame[column].nunique() <= len(frame) / 3]
    few = [column for column in few if column not in (*columns, *given)][:12]
    different = {column: frame[column].nunique() for column in few}
    together = [names for count in (1, 2, 3) for names in combinations(few, count)]
    for further in sorted(together, key=lambda names: prod(different[column] for column in names)):
        if keys.assign(**{f"_{i}": frame[column] for i, column in enumerate(further)}).duplicated().any():
            continue
        repeat = f"{path}: {repeated:.0%} of the dates in {name!r} repeat"
        if len(further) == 1 and read_dates(frame, [*columns, *further]) is not None:
            raise DataError(
                f"{repeat}, and {further[0]!r} tells them apart: give "
                f"{option('date', ','.join([*columns, *further]))} to read them as one date"
            )
        if len(further) == 1 and part_of(further[0]) in TIMES_OF_DAY:
            raise DataError(
                f"{repeat}, and {further[0]!r} tells them apart but holds no {further[0].strip().lower()} of the day "
                f"that is read (first: {str(frame[further[0]].dropna().iloc[0])!r}); write times as 13:00, or "
                f"{option('group', further[0])} makes a series of each"
            )
        wanted = [*given, *further]
        raise DataError(
            f"{repeat}; {' and '.join(map(repr, further))} {'seems' if len(further) == 1 else 'seem'} "
            "to tell the series apart: give "
            f"{option('group', wanted[0] if len(wanted) == 1 else wanted)}"
        )
    if repeated > 0.5:
        raise DataError(
            f"{path}: {repeated:.0%} of the dates in {name!r} repeat; name the column that tells the series apart "
            f"with {option('group', 'NAME')}, or give {option('kind', 'classify')} or {option('kind', 'regress')} to "
            "predict row by row"
        )
