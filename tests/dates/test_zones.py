"""Dates in a time zone that the user names."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from test_dates import forecast, notes_of, saved, table

from anyformer.tasks import DataError, open_data


class TestZoneThatIsSaid:
    @pytest.mark.parametrize("zone", ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe"])
    @pytest.mark.parametrize("order", [1, -1])
    def test_neither_gap_nor_repetition(self, tmp_path: Path, zone: str, order: int) -> None:
        for start in ("2023-03-01", "2023-10-01"):
            moments = pd.date_range(start, periods=2000, freq="30min", tz=zone)
            texts = moments.strftime("%d.%m.%Y %H:%M")
            values = table(texts)
            path = saved(tmp_path, values[:-3][::order])
            task = open_data(path, "y", tz=zone, context=6, horizon=3)
            assert task.describe()["absent_steps"] == 0 and "averaged" not in " ".join(task.notes())
            assert np.array_equal(task._values[:, 0], values.y[:-3])  # type: ignore[attr-defined]
            assert forecast(path, tz=zone)["when"].tolist() == texts[-3:].tolist()

    def test_series_beside_each_other(self, tmp_path: Path) -> None:
        moments = pd.date_range("2023-10-20", periods=600, freq="h", tz="Europe/Berlin")
        rows = [(f"{moment:%Y-%m-%d %H:%M}", shop) for moment in moments for shop in "ab"]
        frame = table([when for when, _ in rows], shop=[shop for _, shop in rows])
        task = open_data(saved(tmp_path, frame), "y", group="shop", tz="Europe/Berlin")
        assert task.describe()["absent_steps"] == 0
        notes = " ".join(task.notes())
        assert (
            "4 times in 'when' come twice on the clocks of Europe/Berlin" in notes and "averaged" not in notes
        )

    def test_dates_alone_stay_dates(self, tmp_path: Path) -> None:
        """Clocks in Sao Paulo skipped midnights."""
        days = pd.date_range("2015-09-01", periods=100)
        path = saved(tmp_path, table(days))
        assert forecast(path, tz="America/Sao_Paulo")["when"].tolist()[0] == "2015-12-10"

    def test_times_that_its_clocks_skip_are_refused(self, tmp_path: Path) -> None:
        path = saved(
            tmp_path, table(pd.date_range("2023-03-01", periods=900, freq="h").strftime("%Y-%m-%d %H:%M"))
        )
        for options in ({}, {"date": "when"}):
            with pytest.raises(
                DataError, match=r"clocks show no 2023-03-26T02:00:00 \(in row 603\) in 'when', as those of"
            ):
                open_data(path, "y", tz="Europe/Berlin", **options)
        assert forecast(path)["when"].tolist()[0] == "2023-04-07 12:00"

    def test_dates_with_a_zone_keep_theirs(self, tmp_path: Path) -> None:
        moments = pd.date_range("2023-10-20", periods=600, freq="h", tz="America/Chicago")
        path = saved(tmp_path, table(moments.map(lambda moment: moment.isoformat())))
        assert "tz='Europe/Berlin' says nothing about 'when'" in notes_of(path, tz="Europe/Berlin")
        assert "says nothing" not in notes_of(path, tz="America/Chicago")

    @pytest.mark.parametrize(
        ("zone", "hint"),
        [
            ("Europe/Berln", "did you mean 'Europe/Berlin'"),
            ("europe/berlin", "did you mean 'Europe/Berlin'"),
            ("CEST", r"CEST is \+02:00"),
            ("", ""),
        ],
    )
    def test_a_wrong_name(self, tmp_path: Path, zone: str, hint: str) -> None:
        path = saved(tmp_path, table(pd.date_range("2023-03-01", periods=90)))
        with pytest.raises(
            ValueError, match=f"tz must name a time zone such as Europe/Berlin, .* got '{zone}'.*{hint}"
        ):
            open_data(path, "y", tz=zone)
