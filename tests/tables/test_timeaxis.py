"""Dates and times of day in several columns are one time; zones that are said are kept to; odd years are not taken."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from test_dates import forecast, notes_of, saved, table

from anyformer.dates.names import ROMAN
from anyformer.tasks import DataError, open_data

HALVES = "settlement_period"
PARTS: list[tuple[str, str, Callable[[pd.Timestamp], Any]]] = [
    ("hour", "h", lambda t: t.hour),
    ("Hour", "h", lambda t: t.hour + 1),
    ("hour", "h", lambda t: f"{t:%H:%M}"),
    ("hour", "h", lambda t: f"{t.hour + 1:02}:00"),
    ("hour", "h", lambda t: f"{t:%H:%M:%S}"),
    ("hour", "h", lambda t: f"{t.hour}:00"),
    ("heure", "h", lambda t: f"{t.hour}h"),
    ("Heure", "15min", lambda t: f"{t.hour}h{t.minute:02}"),
    ("hour_ending", "h", lambda t: f"HE{t.hour + 1:02}"),
    ("hour", "h", lambda t: f"{t:%I %p}"),
    ("Stunde", "h", lambda t: f"{t.hour} Uhr"),
    ("period", "h", lambda t: t.hour + 1),
    (HALVES, "30min", lambda t: 2 * t.hour + t.minute // 30 + 1),
    ("slot", "15min", lambda t: 4 * t.hour + t.minute // 15),
    ("minute", "min", lambda t: 60 * t.hour + t.minute),
    ("time", "h", lambda t: f"{t:%H%M}"),
    ("hhmm", "15min", lambda t: 100 * t.hour + t.minute),
    ("HrMn", "h", lambda t: 100 * t.hour + 100),
    ("TIME", "15min", lambda t: f"{t:%H%M%S}"),
    ("hour", "h", lambda t: 100 * t.hour),
    ("Stunde", "h", lambda t: f"{t.hour:02}-{(t.hour + 1) % 24:02}"),
    ("Stunde", "h", lambda t: f"{t.hour:02}-{t.hour + 1:02}"),
    ("hour", "h", lambda t: f"{t.hour}-{t.hour + 1}"),
    ("hour", "h", lambda t: f"{t.hour:02}:00 - {t.hour + 1:02}:00"),
]


@pytest.mark.parametrize(
    ("name", "rule", "write"), PARTS, ids=lambda value: value if isinstance(value, str) else ""
)
@pytest.mark.parametrize("day", ["%Y-%m-%d", "%d.%m.%Y"])
def test_a_part_of_the_day_beside_a_date(
    tmp_path: Path, name: str, rule: str, write: Callable[[pd.Timestamp], Any], day: str
) -> None:
    moments = pd.date_range("2023-01-20", periods={"h": 600, "min": 3000}.get(rule, 1500), freq=rule)
    frame = table(moments.strftime(day)).assign(**{name: [write(moment) for moment in moments]})
    path = saved(tmp_path, frame[:-3])
    task = open_data(path, "y", context=6, horizon=3)
    assert task.describe()["absent_steps"] == 0 and "averaged" not in " ".join(task.notes())
    assert task.encoding is not None and task.encoding.layout.columns == ["y"]
    ahead = forecast(path)
    assert (
        ahead[["when", name]].astype(str).values.tolist()
        == frame[["when", name]][-3:].astype(str).values.tolist()
    )


def test_how_hours_and_parts_of_a_day_are_counted_is_said(tmp_path: Path) -> None:
    moments = pd.date_range("2023-01-20", periods=600, freq="h")
    days = moments.strftime("%Y-%m-%d")
    assert "hours in 'when + hour' go from 1 to 24, which is the midnight that ends the day" in notes_of(
        saved(tmp_path, table(days, hour=moments.hour + 1))
    )
    assert "numbers in 'period' go from 1 to 24 and count equal parts of the day" in notes_of(
        saved(tmp_path, table(days, period=moments.hour + 1))
    )
    assert "hours in 'when + hhmm' go from 1 to 24, which is the midnight that ends the day" in notes_of(
        saved(tmp_path, table(days, hhmm=100 * moments.hour + 100))
    )
    with pytest.raises(DataError, match=r"'hour' tells them apart but holds no hour .* \(first: '0 to 2'\)"):
        open_data(saved(tmp_path, table(days, hour=[f"{t.hour} to {t.hour + 2}" for t in moments])), "y")


WRITTEN: list[tuple[str, Callable[[pd.Timestamp], str]]] = [
    ("QS", lambda t: f"{ROMAN[t.quarter - 1]} {t.year}"),
    ("QS", lambda t: f"{t.year}-{ROMAN[t.quarter - 1]}"),
    ("QS", lambda t: f"{ROMAN[t.quarter - 1]}/{t.year % 100:02}"),
    ("QS", lambda t: f"FY{t.year % 100:02} Q{t.quarter}"),
    ("QS", lambda t: f"Q{t.quarter} FY{t.year}"),
    ("QS", lambda t: f"{t.year}/{(t.year + 1) % 100:02} Q{t.quarter}"),
    ("QS", lambda t: f"{t.year} {t.quarter}Q"),
    ("QS", lambda t: f"{t.year}:{t.quarter}"),
    ("QS", lambda t: f"{t.year}.{t.quarter}"),
    ("MS", lambda t: f"{t.year}.{t.month}"),
    ("YS", lambda t: f"FY{t.year}"),
    ("YS", lambda t: f"FY {t.year % 100:02}"),
    ("YS", lambda t: f"{t.year}/{(t.year + 1) % 100:02}"),
    ("YS", lambda t: f"{t.year}-{t.year + 1}"),
    ("YS", lambda t: f"FY{t.year}-{(t.year + 1) % 100:02}"),
]


@pytest.mark.parametrize(("rule", "write"), WRITTEN)
def test_quarters_and_years_are_read_and_written_alike(
    tmp_path: Path, rule: str, write: Callable[[pd.Timestamp], str]
) -> None:
    moments = pd.date_range("1961-01-01", periods=63, freq=rule)
    frame = table(pd.Index([write(moment) for moment in moments]))
    path = saved(tmp_path, frame[:-3])
    task = open_data(path, "y", context=6, horizon=3)
    assert task.describe()["absent_steps"] == 0
    assert forecast(path)["when"].tolist() == frame["when"][-3:].tolist()


@pytest.mark.parametrize(
    ("names", "parts"),
    [
        (["YEAR", "DOY"], lambda t: {"YEAR": t.year, "DOY": t.day_of_year}),
        (["YEAR", "MO", "DY"], lambda t: {"YEAR": t.year, "MO": t.month, "DY": t.day}),
        (["yr", "mo", "day"], lambda t: {"yr": t.year % 100, "mo": t.month, "day": t.day}),
    ],
)
def test_parts_of_a_day_in_several_columns(
    tmp_path: Path, names: list[str], parts: Callable[[pd.DatetimeIndex], dict[str, Any]]
) -> None:
    moments = pd.date_range("2021-11-20", periods=123)
    frame = pd.DataFrame({**parts(moments), "y": np.random.default_rng(0).normal(size=123)})
    path = saved(tmp_path, frame[:-3])
    assert open_data(path, "y", context=6, horizon=3).describe()["absent_steps"] == 0
    assert forecast(path)[names].astype(int).values.tolist() == frame[names][-3:].values.tolist()
    dated = frame.assign(when=moments.strftime("%d.%m.%Y"))
    task = open_data(saved(tmp_path, dated), "y", date_format="%d.%m.%Y")
    assert task.encoding is not None and task.encoding.layout.date == "when"


@pytest.mark.parametrize("span", ["{a:%d.%m.%Y}-{b:%d.%m.%Y}", "{a:%Y-%m-%d} / {b:%Y-%m-%d}"])
def test_dates_that_are_not_read_are_no_text(tmp_path: Path, span: str) -> None:
    begins = pd.date_range("2021-01-04", periods=60, freq="W-MON")
    texts = [span.format(a=begin, b=begin + pd.Timedelta(days=6)) for begin in begins]
    with pytest.raises(
        DataError, match="no numeric column besides the target .*'week'.*text='week' reads it"
    ):
        open_data(saved(tmp_path, pd.DataFrame({"week": texts, "y": np.arange(60) * 1.5})), "y")


def test_years_with_fractions_are_not_passed_over_in_silence(tmp_path: Path) -> None:
    frame = pd.DataFrame({"time": (1949 + np.arange(60) / 12).round(3), "y": np.arange(60) * 1.5})
    notes = " ".join(open_data(saved(tmp_path, frame), "y").notes())
    assert "'time' holds numbers that may be years and parts of them (first: 1949.0)" in notes


class TestYears:
    @pytest.mark.parametrize(
        ("ahead", "style", "hint"),
        [
            (543, "{Y}-{m:02}-{d:02}", "the Buddhist calendar is 543 years ahead"),
            (543, "{d:02}/{m:02}/{Y}", "the Buddhist calendar is 543 years ahead"),
            (-579, "{Y}-{m:02}-{d:02}", "another calendar"),
            (3761, "{Y}-{m:02}-{d:02}", "another calendar"),
        ],
    )
    def test_those_of_other_calendars_are_not_taken_unasked(
        self, tmp_path: Path, ahead: int, style: str, hint: str
    ) -> None:
        days = pd.date_range("2021-03-01", periods=90)
        texts = [style.format(Y=day.year + ahead, m=day.month, d=day.day) for day in days]
        path = saved(tmp_path, table(texts))
        years = f"{2021 + ahead} to {2021 + ahead}"
        with pytest.raises(
            DataError, match=f"dates in 'when' are of the years {years}, .*{hint}.* date='when'"
        ):
            open_data(path, "y")
        assert f"of the years {years}: they are taken as years of the usual calendar" in notes_of(
            path, date="when"
        )

    def test_a_year_column_too(self, tmp_path: Path) -> None:
        path = saved(tmp_path, table(range(2500, 2566)).rename(columns={"when": "year"}))
        with pytest.raises(DataError, match="dates in 'year' are of the years 2500 to 2565"):
            open_data(path, "y")

    @pytest.mark.parametrize("typed", ["2202-02-20", "2921-04-29", "0220-02-20"])
    def test_a_few_far_ones_are_no_dates(self, tmp_path: Path, typed: str) -> None:
        frame = table(pd.date_range("2020-01-01", periods=120).strftime("%Y-%m-%d"))
        frame.loc[50, "when"] = typed
        notes = notes_of(saved(tmp_path, frame))
        assert (
            f"1 of 120 values of 'when' are no plausible dates written %Y-%m-%d (first: '{typed}' in row 51)"
            in notes
        )

    def test_a_long_way_ahead_is_said(self, tmp_path: Path) -> None:
        path = saved(tmp_path, table(range(1850, 2300)).rename(columns={"when": "year"}))
        assert "dates in 'year' are of the years 1850 to 2299" in notes_of(path)


class TestSeveralWays:
    @pytest.mark.parametrize("name", ["date", "stamp", "x", "text"])
    @pytest.mark.parametrize(
        "styles", [("%d.%m.%Y", "%Y-%m-%d"), ("%B %d, %Y", "%Y-%m-%d"), ("%Y%m%d", "%d/%m/%Y", "%d %b %Y")]
    )
    def test_rows_and_values_are_named(self, tmp_path: Path, name: str, styles: tuple[str, ...]) -> None:
        days = pd.date_range("2020-01-18", periods=120)
        texts = [day.strftime(styles[i % len(styles)]) for i, day in enumerate(days)]
        frame = pd.DataFrame({name: texts, "label": list("ab") * 60})
        path = saved(tmp_path, frame)
        for given in ({}, {"target": "label"}):
            with pytest.raises(
                DataError, match=f"date: column '{name}' of .* several ways, .* in row 1 .*date='none'"
            ) as why:
                open_data(path, **given)
            assert all(
                f"{texts[i]!r} in row {i + 1} ({style})" in str(why.value) for i, style in enumerate(styles)
            )
        with pytest.raises(DataError, match=f"'{name}' holds dates written in several ways"):
            open_data(path, "label", kind="classify")

    def test_texts_with_numbers_in_them_are_texts(self, tmp_path: Path) -> None:
        texts = [f"call {i * 37 % 100} of 2020, {'long' if i % 2 else 'short'}" for i in range(120)]
        task = open_data(saved(tmp_path, pd.DataFrame({"note": texts, "label": list("ab") * 60})), "label")
        assert "'note' is read as the bytes of its text" in task.notes()
