"""Rows with dates as series on a regular grid."""

from __future__ import annotations

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
from anyformer.tasks.forecasting import Series

LONGEST_GAP = 1000


def dated_rows(
    table: pd.DataFrame, dated: Dates, groups: pd.Series, remarks: list[str]
) -> tuple[pd.DataFrame, pd.Series, pd.Series]:
    """Return the table, dates and groups, reduced to the rows that have a date and a group."""
    name, dates = dated.name, dated.instants.loc[table.index]
    usable = dates.notna() & groups.notna()
    if not usable.all():
        remarks.append(f"{int((~usable).sum())} rows have no readable date or group and are left out")
    table, dates, groups = table[usable], dates[usable], groups[usable]
    if not all(group.is_monotonic_increasing for _, group in dates.groupby(groups)):
        remarks.append(f"rows were not in the order of {name!r} and have been sorted")
    return table, dates, groups


def known_rows(
    table: pd.DataFrame, dates: pd.Series | None, groups: pd.Series, targets: list[str], remarks: list[str]
) -> pd.Series:
    """Return a mask of the rows up to the last known target of each group.

    Rows after it hold values known ahead, and are to be forecast.
    """
    order = pd.Series(np.arange(len(table)), table.index) if dates is None else dates
    known = table[targets].notna().any(axis=1) & order.notna() & groups.notna()
    if not known.any():
        return pd.Series(True, table.index)
    last = groups.map(order[known].groupby(groups[known]).max())
    ahead = last.notna() & (order > last)
    if ahead.any():
        what = " or ".join(map(repr, targets[:3])) + (" ..." if len(targets) > 3 else "")
        also = [
            str(name)
            for name in table.columns
            if name not in targets and table.loc[ahead, name].notna().any()
        ]
        remarks.append(
            f"the last {int(ahead.sum())} rows have no {what}: they are the future to be forecast and left out"
            + (
                f", although {', '.join(map(repr, also))} are known there: what is known ahead is not used yet"
                if also
                else ""
            )
        )
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


def on_grid(
    table: pd.DataFrame, dated: Dates, groups: pd.Series, step: Step, remarks: list[str]
) -> tuple[list[Series], dict[str, Any]]:
    """Return the rows of each group on one regular grid that begins at the first date, NaN where it has none."""
    name, dates = dated.name, dated.values.loc[table.index]
    origin = dates.to_numpy().min()
    parts, gaps, merged, breaks, first_gap = [], 0, 0, 0, None
    for group in groups.unique():
        place = step.index(dates[groups == group].to_numpy(), origin)
        values = table[groups == group].groupby(place).mean()
        merged += len(place) - len(values)
        places = values.index.to_numpy()
        runs = np.split(places, np.flatnonzero(np.diff(places) > LONGEST_GAP) + 1)
        breaks += len(runs) - 1
        for run in runs:
            whole = np.arange(run[0], run[-1] + 1)
            gone = np.setdiff1d(whole, run)
            gaps += len(gone)
            if len(gone) and first_gap is None:
                first_gap = _shown(dated.reading, step.date(int(gone[0]), origin))
            parts.append(Series(values.reindex(whole).to_numpy(), int(whole[0]), str(group)))
    if merged:
        remarks.append(f"{merged} rows share a step of {step} with another and have been averaged")
    if gaps:
        remarks.append(
            f"{gaps} steps of {step} are absent from {name!r} (the first at {first_gap}); treated as missing"
        )
    if breaks:
        remarks.append(
            f"{breaks} gaps are longer than {LONGEST_GAP} steps of {step}: no window reaches across them"
        )
    return parts, {"date": name, "step": str(step), "absent_steps": gaps}


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
