"""Words in dates are read in several languages, mean one thing each, and are written as they were read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from strategies import worded_dates
from test_dates import dates_of, forecast, notes_of, saved, table

from anyformer.dates import names
from anyformer.tasks import DataError, open_data


@pytest.mark.parametrize("letter", ["a", "b"])
def test_no_word_stands_for_two(letter: str) -> None:
    """Tuesday is mar in French, and March is; but both are not looked for in one place."""
    for row in names._rows(letter):
        assert [names.number_of(letter, word) for word in row] == [*range(1, len(row) + 1)], row
    assert names.number_of(letter, "Foo") == -1 and names.number_of(letter, "") == 0


@settings(deadline=None, max_examples=60, derandomize=True)
@given(worded_dates())
def test_words_are_read_and_written_alike(made: tuple[list[str], np.ndarray, str]) -> None:
    texts, dates, what = made
    found = dates_of(texts)
    assert np.array_equal(found.clock.to_numpy(), dates), (what, found)
    assert found.reading.write(dates)["when"] == texts, (what, found.reading)


@pytest.mark.parametrize("write", [str.lower, str.upper, str.title])
def test_weekdays_of_two_words_are_read_and_written_in_any_case(write: Callable[[str], str]) -> None:
    row = next(row for row in names._rows("a") if row[0] == "segunda-feira")
    dates = pd.date_range("2001-01-01", periods=14).to_numpy()
    texts = [f"{write(row[i % 7])}, {date:%d.%m.%Y}" for i, date in enumerate(pd.to_datetime(dates))]
    found = dates_of(texts)
    assert np.array_equal(found.clock.to_numpy(), dates)
    assert found.reading.write(dates)["when"] == texts


def test_months_that_were_not_seen_are_written_in_the_same_language(tmp_path: Path) -> None:
    months = (
        "janv.",
        "févr.",
        "mars",
        "avr.",
        "mai",
        "juin",
        "juil.",
        "août",
        "sept.",
        "oct.",
        "nov.",
        "déc.",
    )
    days = pd.date_range("2021-06-01", periods=61)
    path = saved(tmp_path, table([f"{day.day} {months[day.month - 1]} {day.year}" for day in days]))
    assert forecast(path)["when"].tolist() == ["1 août 2021", "2 août 2021", "3 août 2021"]


@pytest.mark.parametrize(
    "style",
    ["%d.%m.%Y %H:%M Uhr", "%d/%m/%Y %Hh%M", "%d/%m/%Y \u00e0 %H:%M", "%d/%m/%Y %Hh", "%d. %B %Y, %H:%M Uhr"],
)
def test_words_about_times_of_day(style: str) -> None:
    texts = pd.date_range("2023-01-20", periods=600, freq="h").strftime(style)
    found = dates_of(texts)
    assert found.reading.write(found.clock.to_numpy())["when"] == texts.tolist()


def test_a_zone_at_any_time_of_the_year_is_refused(tmp_path: Path) -> None:
    path = saved(
        tmp_path, table(pd.date_range("2023-01-20", periods=600, freq="h").strftime("%Y-%m-%d %H:%M ET"))
    )
    for tz in (None, "America/New_York"):
        with pytest.raises(
            DataError,
            match=r"'ET' in column 'when' .* may be the time of EST .* write offsets such as \+01:00$",
        ):
            open_data(path, "y", tz=tz)


@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/New_York", "Europe/London", "Australia/Sydney"])
def test_named_zones_are_offsets_and_written_by_name(tmp_path: Path, zone: str) -> None:
    moments = pd.date_range("2023-02-20", periods=1500, freq="h", tz=zone)
    texts = [f"{moment:%Y-%m-%d %H:%M} {moment.tzname()}" for moment in moments]
    path = saved(tmp_path, table(texts[:-3]))
    task = open_data(path, "y")
    assert task.describe()["absent_steps"] == 0 and "averaged" not in " ".join(task.notes())
    assert forecast(path)["when"].tolist() == texts[-3:]


@pytest.mark.parametrize(
    ("name", "zone"), [("IST", "Asia/Kolkata"), ("CST", "America/Chicago"), ("CST", "Asia/Shanghai")]
)
def test_a_zone_of_several_meanings_is_refused_unless_said(tmp_path: Path, name: str, zone: str) -> None:
    moments = pd.date_range("2023-10-20", periods=600, freq="h", tz=zone)
    texts = [f"{moment:%Y-%m-%d %H:%M} {moment.tzname()}" for moment in moments]
    path = saved(tmp_path, table(texts[:-3]))
    row = 1 + next(i for i, text in enumerate(texts) if text.endswith(name))
    why = rf"'{name}' in column 'when' \('{texts[row - 1]}' in row {row}\) may be the time of .* give tz='NAME/OF_ZONE'"
    for options in ({}, {"date": "when"}):
        with pytest.raises(DataError, match=why):
            open_data(path, "y", **options)
    assert forecast(path, tz=zone)["when"].tolist() == texts[-3:]
    assert "absent" not in notes_of(path, tz=zone)


def test_what_no_format_reads_is_said(tmp_path: Path) -> None:
    months = ("tammikuu", "helmikuu", "maaliskuu", "huhtikuu")
    texts = [f"{months[i % 4]} {1980 + i // 4}" for i in range(100)]
    path = saved(tmp_path, table(texts).rename(columns={"y": "sold"}))
    why = "'tammikuu' is not read: names of months and days may be English, German, French"
    with pytest.raises(DataError, match=f"kind='forecast' forecasts the rows .*'when' holds .* {why}"):
        open_data(path)
    with pytest.raises(DataError, match=f"column 'when' .* does not hold dates, .* {why}"):
        open_data(path, date="when")
    assert why in " ".join(open_data(path, kind="forecast").notes())
