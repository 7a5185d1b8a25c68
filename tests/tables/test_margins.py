from __future__ import annotations

from pathlib import Path

import pytest

from anyformer.tables.numbercells import Convention
from anyformer.tables.reading import Table, read_csv

ROWS = [["2024-01-01", "1.5", "3", "u"], ["2024-01-02", "2.5", "4", "v"], ["2024-01-03", "0.5", "", "u"]]
ROWS += [["2024-01-04", "1.25", "7", "v"]]


def table(folder: Path, *, units: list[str] | None = None, last: list[str] | None = None) -> Table:
    lines = [["day", "temp", "wind", "kind"], *([units] if units else []), *ROWS, *([last] if last else [])]
    (folder / "data.csv").write_text("".join(",".join(line) + "\n" for line in lines))
    return read_csv(folder / "data.csv", Convention())


@pytest.mark.parametrize(
    "units", [["", "\N{DEGREE SIGN}C", "m/s", ""], ["day", "deg", "m/s", "word"], ["", "[K]", "", "-"]]
)
def test_a_row_of_units_is_left_out_and_said(tmp_path: Path, units: list[str]) -> None:
    found = table(tmp_path, units=units)
    assert found.frame.temp.tolist() == [1.5, 2.5, 0.5, 1.25] and found.frame.kind.tolist() == [
        "u",
        "v",
        "u",
        "v",
    ]
    assert "row 1 holds units or second names" in found.remarks[0] and repr(units[1]) in found.remarks[0]


@pytest.mark.parametrize(
    "first",
    [
        ["2023-12-31", "broken", "?", "u"],
        ["", "", "", ""],
        ["NA", "NA", "?", "u"],
        ["2023-12-31", "", "", "x"],
    ],
)
def test_a_row_of_missing_values_is_none_of_units(tmp_path: Path, first: list[str]) -> None:
    found = table(tmp_path, units=first)
    assert len(found.frame) == 5 and not found.remarks


@pytest.mark.parametrize(
    "last", [["Total", "5.75", "14", ""], ["", "5.75", "14", "Summe:"], ["GRAND TOTAL", "", "14", ""]]
)
def test_a_row_of_totals_is_left_out_and_said(tmp_path: Path, last: list[str]) -> None:
    found = table(tmp_path, last=last)
    assert found.frame.temp.tolist() == [1.5, 2.5, 0.5, 1.25]
    assert "sums up the others and is left out" in found.remarks[0]


def test_total_as_a_value_like_others_is_kept(tmp_path: Path) -> None:
    assert (
        len(
            table(
                tmp_path, units=["2023-12-31", "1", "2", "total"], last=["2024-01-05", "1", "2", "total"]
            ).frame
        )
        == 6
    )
    assert len(table(tmp_path, last=["2024-01-05", "1", "2", "Total loss"]).frame) == 5


def test_a_line_of_dashes_is_left_out_and_said(tmp_path: Path) -> None:
    (tmp_path / "data.csv").write_text("| a | kind |\n|---|:--:|\n| 1.5 | u |\n| 2.5 | v |\n")
    found = read_csv(tmp_path / "data.csv", Convention())
    assert found.frame.a.tolist() == [1.5, 2.5] and found.frame.kind.str.strip().tolist() == ["u", "v"]
    assert "row 1 is a line of dashes and is left out" in found.remarks


def test_names_that_come_again_are_left_out_and_said(tmp_path: Path) -> None:
    (tmp_path / "data.csv").write_text("a,kind\n1,u\na,kind\n2,v\n")
    found = read_csv(tmp_path / "data.csv", Convention())
    assert found.frame.a.tolist() == [1, 2]
    assert found.remarks == ["1 lines between the rows repeat the names of the columns and are left out"]
