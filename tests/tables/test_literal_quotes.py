"""Double quotes in tab-separated texts."""

from __future__ import annotations

from pathlib import Path

import pytest

from anyformer.errors import DataError
from anyformer.tables.files import read_table
from anyformer.tables.literal_quotes import with_literal_quotes
from anyformer.tables.numbercells import Convention


def texts(path: Path, lines: list[str]) -> tuple[list[tuple[str, str]], list[str]]:
    path.write_text("a\tb\n" + "\n".join(lines) + "\n", encoding="utf-8")
    table = read_table(path, Convention())
    return list(zip(table.frame["a"], table.frame["b"], strict=True)), table.remarks


@pytest.mark.parametrize(
    "odd",
    [
        ['"Go," he said.\t"Geh", sagte er.'],
        ['He said "no.\tEr sagte "nein.'],
        ['"it begins here\tx', "one\ttwo", 'and ends"\ty'],  # quotes around both lines would be well-formed
    ],
)
def test_quotes_that_enclose_no_value_are_parts_of_it(tmp_path: Path, odd: list[str]) -> None:
    lines = ["first\tone", *odd, "last\ttwo"]
    found, remarks = texts(tmp_path / "x.tsv", lines)
    assert ["\t".join(row) for row in found] == lines
    said = any("double quotes are parts of the values" in remark for remark in remarks)
    assert said == (len(odd) > 1 or odd[0].startswith('"'))  # within values they are parts anyway


def test_quotes_around_values_are_none_of_them(tmp_path: Path) -> None:
    found, remarks = texts(tmp_path / "x.tsv", ['"first"\tone', 'a\t"b ""c"""'])
    assert found == [("first", "one"), ("a", 'b "c"')] and not remarks


def test_files_with_other_separators_or_ragged_lines_stay() -> None:
    for text in ('a,b\n"x,y\n', 'a\tb\n"x\ty\tz\n', "a\tb\nx\ty\n"):
        assert with_literal_quotes(text, []) == text


def test_a_comma_between_such_quotes_is_still_refused(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text('a,b\n"x" y,z\n')
    with pytest.raises(DataError, match="a value that holds a double quote is written in quotes"):
        read_table(tmp_path / "x.csv", Convention())
