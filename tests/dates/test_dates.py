"""Columns of dates are read in one way, and right; what is no date is left alone; forecasts are written alike."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from strategies import date_columns, regular_dates

from anyformer.dates.columns import read_dates
from anyformer.dates.reading import Dates
from anyformer.tasks import DataError, open_data
from anyformer.tasks.readers import load_encoding

RANGES = {
    "D": pd.date_range("2020-01-01", periods=70),
    "B": pd.date_range("2021-02-03", periods=70, freq="B"),
    "W": pd.date_range("2019-12-30", periods=70, freq="W-MON"),
    "MS": pd.date_range("2001-01-01", periods=70, freq="MS"),
    "ME": pd.date_range("2001-01-31", periods=70, freq="ME"),
    "QS": pd.date_range("1990-01-01", periods=50, freq="QS"),
    "YS": pd.date_range("1951-01-01", periods=40, freq="YS"),
    "h": pd.date_range("2020-01-01", periods=1000, freq="h"),
    "15min": pd.date_range("2020-03-01", periods=1000, freq="15min"),
}
DAYS = [
    "%d.%m.%y",
    "%d/%m/%Y",
    "%m/%d/%Y",
    "%y-%m-%d",
    "%Y-%m-%d",
    "%Y%m%d",
    "%Y/%m/%d",
    "%d %B %Y",
    "%b %d, %Y",
    "%d%b%Y",
]
TIMES = [
    "%d/%m/%Y %H:%M",
    "%m/%d/%Y %I:%M:%S %p",
    "%Y-%m-%dT%H:%M:%SZ",
    "%Y-%m-%d %H:%M:%S.%f",
    "%Y%m%d%H%M",
    "%d.%m.%y %H:%M",
]
MONTHS = ["%b-%y", "%b-%Y", "%B %Y", "%Y-%m", "%m/%Y", "%Y%m", "%YM%m"]
CASES = [(rule, style) for rule in ("D", "B", "W", "MS", "ME", "QS", "YS") for style in DAYS]
CASES += [(rule, style) for rule in ("h", "15min") for style in TIMES]
CASES += [(rule, style) for rule in ("MS", "QS") for style in MONTHS]
CASES += [("YS", "%Y"), ("W", "%G-W%V"), ("B", "%G-W%V-%u")]


def dates_of(values: Any, **options: Any) -> Dates:
    found = read_dates(pd.DataFrame({"when": values}), ["when"], **options)
    assert found is not None
    return found


def saved(folder: Path, frame: pd.DataFrame, name: str = "data.csv") -> Path:
    path = folder / name
    frame.to_parquet(path) if name.endswith("parquet") else frame.to_csv(path, index=False)
    return path


def table(dates: Any, **columns: Any) -> pd.DataFrame:
    n = len(dates)
    values = 20 + 5 * np.sin(2 * np.pi * np.arange(n) / 7) + np.random.default_rng(0).normal(0, 0.3, n)
    return pd.DataFrame({"when": dates, "y": values, **columns})


def notes_of(path: Path, **options: Any) -> str:
    return " | ".join(open_data(path, "y", **options).notes())


def forecast(path: Path, **options: Any) -> pd.DataFrame:
    """The names of the steps after the file's end."""
    task = open_data(path, "y", **{"context": 6, "horizon": 3, **options})
    assert task.encoding is not None
    return load_encoding(task.encoding.model_dump(mode="json")).read(path).names


@pytest.mark.parametrize("rule, style", CASES)
def test_a_style_is_found_on_the_whole_column(rule: str, style: str) -> None:
    dates = RANGES[rule]
    for rows in (np.arange(len(dates)), np.random.default_rng(3).permutation(len(dates))):
        texts = dates[rows].strftime(style)
        found = dates_of(texts)
        assert found.clock.tolist() == dates[rows].tolist()
        assert found.reading.write(found.clock.to_numpy())["when"] == texts.tolist()


@settings(deadline=None, max_examples=40, derandomize=True)
@given(date_columns())
def test_dates_are_what_they_were_made_from_or_it_is_said(made: tuple[list[str], np.ndarray, str]) -> None:
    texts, dates, what = made
    found = dates_of([text or None for text in texts])
    right = np.array_equal(found.clock.to_numpy(), dates, equal_nan=True)
    assert right or any("do not decide" in remark for remark in found.remarks), (what, found)
    if right:
        there = ~np.isnat(dates)
        values = found.counted(True).values.to_numpy()[there]
        again = read_dates(pd.DataFrame(found.counted(True).reading.write(values)), ["when"])
        assert again is not None and np.array_equal(again.instants.to_numpy(), values), what


@settings(deadline=None, max_examples=12, derandomize=True)
@given(regular_dates())
def test_a_forecast_is_dated_and_written_as_the_rows_would_go_on(
    made: tuple[list[str], np.ndarray, str],
) -> None:
    texts, _, what = made
    with TemporaryDirectory() as folder:
        path = saved(Path(folder), table(texts[:-3]))
        names = forecast(path, context=4)
        assert names["when"].tolist() == texts[-3:] or "do not decide" in notes_of(path), what


class TestValuesThatDoNotFit:
    def test_few_are_counted_and_shown(self, tmp_path: Path) -> None:
        frame = table(RANGES["D"].strftime("%d.%m.%Y"))
        frame.loc[[10, 40], "when"] = ["31.02.2020", "soon"]
        notes = notes_of(saved(tmp_path, frame))
        assert (
            "2 of 70 values of 'when' are no plausible dates written %d.%m.%Y (first: '31.02.2020' in row 11)"
            in notes
        )
        assert "2 rows have no readable date or group and are left out" in notes

    def test_never_is_no_date(self, tmp_path: Path) -> None:
        frame = table(RANGES["D"].strftime("%Y-%m-%d"))
        frame.loc[[5, 69], "when"] = ["0001-01-01", "9999-12-31"]
        notes = notes_of(saved(tmp_path, frame))
        assert (
            "2 of 70 values of 'when' are no plausible dates written %Y-%m-%d (first: '0001-01-01' in row 6)"
            in notes
        )
        assert forecast(tmp_path / "data.csv")["when"][0] == "2020-03-10"
        dates = RANGES["D"].to_numpy().astype("datetime64[us]").copy()
        dates[[5, 69]] = np.array(["0001-01-01", "9999-12-31"], "datetime64[us]")
        stored = saved(tmp_path, table(dates), "data.parquet")
        assert (
            "2 of 70 values of 'when' lie outside the years 1000 to 2999 and count as no dates"
            in notes_of(stored)
        )
        assert forecast(stored)["when"][0] == "2020-03-10"

    def test_many_make_it_no_column_of_dates(self, tmp_path: Path) -> None:
        frame = table(RANGES["D"].strftime("%d.%m.%Y"), other=np.arange(70) % 7)
        frame["date"] = frame.pop("when")
        frame.loc[:10, "date"] = "soon"
        with pytest.raises(
            DataError,
            match=r"'date' of .*11 of 70 values are no plausible dates .*%d.%m.%Y.*'soon' in row 1.*date='none'",
        ):
            open_data(saved(tmp_path, frame), "y")
        assert open_data(saved(tmp_path, frame), "y", date="none").encoding.kind == "labelled"  # type: ignore[union-attr]

    def test_row_by_row_guesses_are_gone(self) -> None:
        """13.01. is no reason to read 12.01. otherwise than 11.01."""
        mixed = ["01/13/2020", "13/01/2020"] * 20
        assert read_dates(pd.DataFrame({"when": mixed}), ["when"]) is None


class TestAmbiguity:
    def test_what_the_rows_tell_is_taken_and_said(self, tmp_path: Path) -> None:
        notes = notes_of(saved(tmp_path, table(RANGES["MS"].strftime("%d/%m/%Y"))))
        assert (
            "'when' (01/02/2001) is read as %d/%m/%Y and not as %m/%d/%Y, so that its dates go on by 1 month"
            in notes
        )
        assert "give date_format='%m/%d/%Y' otherwise" in notes

    def test_what_nothing_tells_is_said(self) -> None:
        hours = pd.date_range("2020-03-04", periods=20, freq="h").strftime("%d/%m/%Y %H:%M")
        remark = dates_of(hours).remarks[0]
        assert (
            "(04/03/2020 00:00) is read as %d/%m/%Y %H:%M and not as %m/%d/%Y %H:%M, though its dates do not decide"
            in remark
        )
        assert dates_of(hours, dayfirst=False).clock[0] == pd.Timestamp("2020-04-03")
        assert dates_of(hours, date_format="%m/%d/%Y %H:%M").clock[0] == pd.Timestamp("2020-04-03")

    @pytest.mark.parametrize(
        "years, first",
        [("98 99 00 01", 1998), ("60 70 80 90 00 10", 1960), ("05 10 20", 2005), ("45 50 55", 1945)],
    )
    def test_two_digit_years_are_one_run(self, years: str, first: int) -> None:
        texts = [
            f"{day:02}.{month:02}.{year}"
            for year in years.split()
            for month in range(1, 13)
            for day in (1, 15, 28)
        ]
        found = dates_of(texts)
        assert found.clock.min().year == first and found.reading.styles == ["%d.%m.%y"]
        assert any(
            remark.startswith(f"two-digit years in 'when' are read as {first} to") for remark in found.remarks
        )


@pytest.mark.parametrize(("name", "hour"), [("hour", "{}"), ("hour", "{:02}"), ("time", "{:02}:00")])
def test_hours_to_24_are_written_to_24(tmp_path: Path, name: str, hour: str) -> None:
    ends = [(f"{1 + i // 24:02}.01.2023", hour.format(i % 24 + 1)) for i in range(24 * 9)]
    days, hours = map(list, zip(*ends))
    frame = table(days[:-24]).assign(**{name: hours[:-24]})
    names = forecast(saved(tmp_path, frame), horizon=24, context=12)
    assert names["when"].tolist() == days[-24:] and names[name].tolist() == hours[-24:]
    whole = table([f"{day} {at}" for day, at in ends[:-24]])
    assert forecast(saved(tmp_path, whole), horizon=24, context=12)["when"].tolist() == [
        f"{day} {at}" for day, at in ends[-24:]
    ]


class TestOptions:
    def test_a_format_that_does_not_fit(self, tmp_path: Path) -> None:
        path = saved(tmp_path, table(RANGES["D"].strftime("%d.%m.%Y")))
        with pytest.raises(DataError, match=r"date_format='%m.%d.%Y': no column of .* rises"):
            open_data(path, "y", date_format="%m.%d.%Y")
        with pytest.raises(
            DataError, match=r"date: column 'when' .* got '01.01.2020' with date_format='%m.%d.%Y'"
        ):
            open_data(path, "y", date="when", date_format="%m.%d.%Y")
        with pytest.raises(
            ValueError, match="date_format has %k, which is not known, got '%d %k'; known: %Y"
        ):
            open_data(path, "y", date_format="%d %k")
        with pytest.raises(
            ValueError, match="date_format has %G, the year of a week, without %V, got '%G-%m'"
        ):
            open_data(path, "y", date_format="%G-%m")
        with pytest.raises(ValueError, match="date_format needs a year"):
            open_data(path, "y", date_format="%d.%m")
        with pytest.raises(
            DataError, match="dayfirst=False: 'when' .* is written %d.%m.%Y, which that rules out"
        ):
            open_data(path, "y", dayfirst=False)
        assert "dayfirst=True says nothing about 'when'" in notes_of(
            saved(tmp_path, table(RANGES["D"].strftime("%Y-%m-%d"))), dayfirst=True
        )

    def test_none_says_that_there_is_no_column_of_dates(self, tmp_path: Path) -> None:
        path = saved(tmp_path, table(RANGES["D"], x=np.arange(70) % 5))
        assert "windows" not in notes_of(path, date="none")
        notes = notes_of(path, date="none", kind="forecast")
        assert "no column of dates: rows are taken in order, one step each" in notes
        with pytest.raises(ValueError, match="date_format is for a column of dates, and date='none'"):
            open_data(path, "y", date="none", date_format="%Y")

    def test_several_columns(self, tmp_path: Path) -> None:
        hours = RANGES["h"][:300]
        frame = table(hours.strftime("%m/%d/%Y"), at=hours.strftime("%H:%M"))
        for options in ({"date": "when,at"}, {"date": ["when", "at"], "date_format": "%m/%d/%Y %H:%M"}):
            task = open_data(saved(tmp_path, frame), "y", **options)
            assert task.describe()["step"] == "1 hour" and task.describe()["absent_steps"] == 0
        assert forecast(tmp_path / "data.csv", date="when,at").values.tolist()[0] == ["01/13/2020", "12:00"]
        with pytest.raises(
            DataError, match=r"of the dates in 'when' repeat, and 'at' tells .*: give date='when,at'"
        ):
            open_data(tmp_path / "data.csv", "y", date="when")
        with pytest.raises(ValueError, match="date_format must have 2 parts"):
            open_data(tmp_path / "data.csv", "y", date="when,at", date_format="%m/%d/%Y")


class TestAxis:
    """Which columns are the time of the rows."""

    @pytest.mark.parametrize(
        "columns, step",
        [
            ({"year": lambda t: t.year, "month": lambda t: t.month}, "MS"),
            ({"Year": lambda t: t.year, "Month": lambda t: t.strftime("%B")}, "MS"),
            ({"YEAR": lambda t: t.year, "quarter": lambda t: t.quarter}, "QS"),
            ({"year": lambda t: t.year, "qtr": lambda t: "Q" + t.quarter.astype(str)}, "QS"),
            ({"year": lambda t: t.strftime("%G"), "week": lambda t: t.strftime("%V")}, "W"),
            ({"year": lambda t: t.year, "month": lambda t: t.month, "day": lambda t: t.day}, "D"),
            ({"YEAR": lambda t: t.year}, "YS"),
            ({"yyyymm": lambda t: t.strftime("%Y%m").astype(int)}, "MS"),
            ({"period": lambda t: t.strftime("%YM%m")}, "MS"),
            ({"month": lambda t: t.strftime("%m.%Y")}, "MS"),
            ({"month": lambda t: t.strftime("%Y.%m")}, "MS"),
            ({"month": lambda t: t.strftime("%b-%y")}, "MS"),
            ({"date": lambda t: t.strftime("%d%m%Y")}, "D"),
            ({"date": lambda t: t.strftime("%m/%d/%y")}, "B"),
            ({"year": lambda t: t.year.astype(float)}, "YS"),
            ({"date": lambda t: (t - pd.Timestamp("1899-12-30")).days}, "B"),
            ({"x": lambda t: (t - pd.Timestamp("1899-12-30")).days}, "B"),
            ({"ts": lambda t: t.astype("datetime64[s]").astype("int64")}, "15min"),
            ({"x": lambda t: t.astype("datetime64[ms]").astype("int64")}, "15min"),
            ({"date": lambda t: t.strftime("%d/%m/%Y"), "time": lambda t: t.strftime("%H:%M")}, "15min"),
            ({"Date": lambda t: t.strftime("%d/%m/%Y"), "Time": lambda t: t.strftime("%H.%M.%S")}, "h"),
            ({"dteday": lambda t: t.strftime("%Y-%m-%d"), "hr": lambda t: t.hour}, "h"),
            ({"date": lambda t: t.strftime("%m/%d/%Y"), "hour": lambda t: t.hour + 1}, "h"),
        ],
        ids=lambda value: "+".join(value) if isinstance(value, dict) else value,
    )
    def test_is_found(self, tmp_path: Path, columns: dict[str, Any], step: str) -> None:
        dates = RANGES[step]
        parts = {name: make(dates) for name, make in columns.items()}
        frame = table(range(len(dates))).drop(columns="when").assign(**parts, other=1.5)
        task = open_data(saved(tmp_path, frame), "y")
        described = task.describe()
        assert described["absent_steps"] == 0 and described["rows"] == len(dates), task.notes()
        assert task.encoding is not None and task.encoding.layout.columns == ["y", "other"]
        assert f"{' + '.join(columns)!r} tells the time of the rows" in " ".join(task.notes())

    @pytest.mark.parametrize(
        "values",
        [
            [f"{h:02}:{m:02}" for h in range(6) for m in range(10)],
            ["2:1", "3:4"] * 30,
            ["1/2", "3/4"] * 30,
            [f"{i // 30}.{i // 10}.{i}" for i in range(60)],
            [f"1.{1 + i // 12}.{10 + i}" for i in range(60)],
            [f"10.0.{i // 10}.{i}" for i in range(60)],
            [f"555-01{i:02}" for i in range(60)],
            [4_915_550_000 + i for i in range(60)],
            [1_600_000_000 + i for i in range(60)],
            list(range(40_000, 40_060)),
            list(range(1, 61)),
            ["2024-05-01"] * 60,
            ["2024-05-01"] * 40 + ["2024-05-02"] * 20,
            pd.to_datetime(np.random.default_rng(0).integers(-9000, 9000, 60), unit="D").strftime("%Y-%m-%d"),
            np.random.default_rng(0).integers(1990, 2020, 60),
            ["yesterday", "tomorrow"] * 30,
            [f"{1 + i / 7:.4f}" for i in range(60)],
            list(range(101, 161)),
            pd.date_range("2020-01-01", periods=60).strftime("%b-%d"),
            pd.date_range("2020-01-01", periods=60).strftime("%d-%b"),
            pd.date_range("2020-01-01", periods=60).strftime("%m/%d"),
        ],
        ids=lambda values: str(list(values)[1]),
    )
    def test_is_not_what_only_looks_alike(self, tmp_path: Path, values: Any) -> None:
        frame = pd.DataFrame({"x": values, "a": np.arange(60) % 7, "y": np.arange(60) % 2})
        assert open_data(saved(tmp_path, frame), "y").encoding.kind == "labelled"  # type: ignore[union-attr]

    def test_a_date_of_birth_is_a_feature_even_in_order(self, tmp_path: Path) -> None:
        frame = pd.DataFrame({"birth_date": RANGES["D"], "a": np.arange(70) % 7, "y": np.arange(70) % 2})
        assert open_data(saved(tmp_path, frame), "y").encoding.kind == "labelled"  # type: ignore[union-attr]

    @pytest.mark.parametrize("order", [("last_update", "t"), ("t", "last_update")])
    def test_what_hardly_changes_never_beats_a_real_date(
        self, tmp_path: Path, order: tuple[str, ...]
    ) -> None:
        frame = table(RANGES["D"]).rename(columns={"when": "t"})
        for updates in (["2024-05-01"] * 70, ["2024-05-01"] * 60 + [f"2024-05-{i:02}" for i in range(2, 12)]):
            frame["last_update"] = updates
            path = saved(tmp_path, frame[[*order, "y"]])
            assert "'t' tells the time of the rows (%Y-%m-%d), rather than 'last_update'; date=" in notes_of(
                path
            )

    def test_years_of_several_series(self, tmp_path: Path) -> None:
        frame = pd.concat([table(range(1960, 2020), country=c) for c in "ab"]).rename(
            columns={"when": "year"}
        )
        assert open_data(saved(tmp_path, frame), "y", group="country").describe()["step"] == "1 year"
        with pytest.raises(DataError, match="'country' seems to tell the series apart"):
            open_data(tmp_path / "data.csv", "y")

    def test_why_it_is_a_forecast_is_said(self, tmp_path: Path) -> None:
        notes = notes_of(saved(tmp_path, table(RANGES["D"])))
        assert "a table with dates is forecast; give kind='classify' or kind='regress'" in notes
        assert "date='NAME' takes another column, date='none' none" in notes

    def test_dates_outside_what_nanoseconds_hold(self, tmp_path: Path) -> None:
        for first in (1500, 2300):
            path = saved(tmp_path, table([f"{year}-07-01" for year in range(first, first + 60)]))
            assert forecast(path, date="when")["when"].tolist()[0] == f"{first + 60}-07-01"


class TestZones:
    @pytest.mark.parametrize("rule", ["h", "15min", "D", "B", "MS", "ME", "6h", "W"])
    @pytest.mark.parametrize(
        "zone, suffix",
        [("Europe/Paris", "csv"), ("Europe/Paris", "parquet"), ("Australia/Sydney", "csv"), ("UTC", "csv")],
    )
    def test_nothing_is_moved_merged_or_lost(self, tmp_path: Path, rule: str, zone: str, suffix: str) -> None:
        size = {"h": 3000, "15min": 900, "6h": 900}.get(rule, 300)
        start = "2023-10-27" if rule == "15min" else "2023-08-01"
        moments = pd.date_range(start, periods=size + 3, freq=rule, tz=zone)
        written = moments if suffix == "parquet" else moments.map(lambda moment: moment.isoformat())
        frame = table(written[:size])
        path = saved(tmp_path, frame, f"data.{suffix}")
        task = open_data(path, "y")
        assert task.describe()["absent_steps"] == 0 and not any("averaged" in note for note in task.notes())
        names = forecast(path)["when"]
        assert pd.to_datetime(names, utc=True).tolist() == moments[size:].tz_convert("UTC").tolist()
        if suffix == "csv":
            assert names.tolist() == written[size:].tolist()

    @pytest.mark.parametrize("rule", ["h", "MS"])
    def test_series_in_several_zones_stay_in_their_months_and_hours(self, tmp_path: Path, rule: str) -> None:
        parts = []
        for zone in ("Europe/Paris", "America/New_York"):
            moments = pd.date_range("2015-01-01", periods=100, freq=rule, tz=zone)
            parts.append(table(moments.map(lambda moment: moment.isoformat()), place=zone))
        path = saved(tmp_path, pd.concat(parts))
        task = open_data(path, "y", group="place")
        assert task.describe()["absent_steps"] == 0
        notes = " ".join(task.notes())
        assert "offsets in 'when' change as in no time zone" in notes and "averaged" not in notes
        ends = forecast(path, group="place")["when"].tolist()[::3]
        monthly, hourly = (
            ["2023-05-01T00:00:00"] * 2,
            ["2015-01-05T03:00:00+00:00", "2015-01-05T09:00:00+00:00"],
        )
        assert ends == (monthly if rule == "MS" else hourly)

    def test_the_clock_that_keeps_to_the_step_is_counted_on(self, tmp_path: Path) -> None:
        """Six hours on a clock in Paris are 5 or 7 twice a year."""
        clock = pd.date_range("2023-08-01", periods=900, freq="6h")
        moments = clock.tz_localize("Europe/Paris")
        path = saved(tmp_path, table(moments.map(lambda moment: moment.isoformat())))
        assert open_data(path, "y").describe()["absent_steps"] == 0
        assert [text[11:16] for text in forecast(path)["when"]] == ["00:00", "06:00", "12:00"]


class TestSaved:
    def test_a_model_saved_before_reads_its_dates(self, tmp_path: Path) -> None:
        path = saved(tmp_path, table(RANGES["D"].strftime("%Y-%m-%d")))
        task = open_data(path, "y", context=6, horizon=2)
        assert task.encoding is not None
        fields = task.encoding.model_dump(mode="json")
        del fields["layout"]["reading"]
        assert load_encoding(fields).read(path).names["when"].tolist() == ["2020-03-11", "2020-03-12"]

    def test_new_data_is_read_as_the_old(self, tmp_path: Path) -> None:
        """Twelve days of January could be the first days of twelve months."""
        days = pd.date_range("2020-03-01", periods=100)
        task = open_data(saved(tmp_path, table(days.strftime("%d/%m/%Y"))), "y", context=6, horizon=2)
        assert task.encoding is not None
        new = saved(tmp_path, table(pd.date_range("2021-01-01", periods=10).strftime("%d/%m/%Y")), "new.csv")
        unseen = task.encoding.read(new)
        assert unseen.names["when"].tolist() == ["11/01/2021", "12/01/2021"]
        other = saved(tmp_path, table(pd.date_range("2021-01-10", periods=10)), "other.csv")
        unseen = task.encoding.read(other)
        assert unseen.names["when"].tolist() == ["2021-01-20", "2021-01-21"]
        assert "dates in 'when' are written %Y-%m-%d, not %d/%m/%Y as in training" in unseen.remarks
