from __future__ import annotations

from pathlib import Path

import pytest

from anyformer.tables.delimited import Cells, read_cells
from anyformer.tasks import DataError


def cells(folder: Path, text: str) -> Cells:
    (folder / "data.csv").write_bytes(text.encode())
    return read_cells(folder / "data.csv")


def read(folder: Path, text: str) -> dict[str, list[str]]:
    return {name: column.to_pylist() for name, column in cells(folder, text).columns.items()}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('"date";"price, EUR"\n2024-01-01;1,5\n', {"date": ["2024-01-01"], "price, EUR": ["1,5"]}),
        ("date;price, EUR\n2024-01-01;1,5\n", {"date": ["2024-01-01"], "price, EUR": ["1,5"]}),
        ("temp, C;kind\n8,5;b\n6,25;a\n", {"temp, C": ["8,5", "6,25"], "kind": ["b", "a"]}),
        ("temp, C;kind\nEUR 8,5;b\n", {"temp, C": ["EUR 8,5"], "kind": ["b"]}),
        ("a;b;c\n1,5;2,5;3,5\n", {"a": ["1,5"], "b": ["2,5"], "c": ["3,5"]}),
        ('a,b\n"1,5","2,5"\n', {"a": ["1,5"], "b": ["2,5"]}),
        ("sep=;\na;b\n1;2\n", {"a": ["1"], "b": ["2"]}),
        ('"sep=|"\r\na|b\r\n1|2\r\n', {"a": ["1"], "b": ["2"]}),
        ("\ufeffa\tb\r\n1\t2\r\n", {"a": ["1"], "b": ["2"]}),
        ("a|b\n1|2\n\n3|4\n\n", {"a": ["1", "3"], "b": ["2", "4"]}),
        ("# made by hand; once\na,b\n1,2\n# half\n3,4\n", {"a": ["1", "3"], "b": ["2", "4"]}),
        ("#a,b\n1,2\n", {"a": ["1"], "b": ["2"]}),
        ("a,b,\n1,2,\n", {"a": ["1"], "b": ["2"]}),
        ("a,b\n1,2,\n", {"a": ["1"], "b": ["2"]}),
        (",b\n1,2\n", {"Unnamed: 0": ["1"], "b": ["2"]}),
        ('a,b\n"x\ny","says ""no"""\n', {"a": ["x\ny"], "b": ['says "no"']}),
        ("y\n1,5\n2,5\n", {"y": ["1,5", "2,5"]}),
        ("text\nhello, you\nfine\n", {"text": ["hello, you", "fine"]}),
        ("text\ngood film\nbad film\n", {"text": ["good film", "bad film"]}),
        ("price EUR\n1 234\n2 345\n", {"price EUR": ["1 234", "2 345"]}),
        (
            "day time\n2020-01-01 10:00\n2020-01-02 10:00\n",
            {"day time": ["2020-01-01 10:00", "2020-01-02 10:00"]},
        ),
        (
            "day time x\n2020-01-01 10:00 5\n2020-01-02 10:00 6\n",
            {
                "day": ["2020-01-01", "2020-01-02"],
                "time": ["10:00", "10:00"],
                "x": ["5", "6"],
            },
        ),
        (
            " a    b  kind\n0.5   1 u\n10.5 -2 v\n",
            {"a": ["0.5", "10.5"], "b": ["1", "-2"], "kind": ["u", "v"]},
        ),
        ('a,b\n"2"" pipe",1\n', {"a": ['2" pipe'], "b": ["1"]}),
        ('a,b\n"so \\"called\\"",1\n"C:\\temp",2\n', {"a": ['so "called"', "C:\\temp"], "b": ["1", "2"]}),
        ('a,b\n"C:\\temp\\",1\n', {"a": ["C:\\temp\\"], "b": ["1"]}),
    ],
)
def test_what_is_read(tmp_path: Path, text: str, found: dict[str, list[str]]) -> None:
    assert read(tmp_path, text) == found


@pytest.mark.parametrize("dress", ["plain", "quoted"])
@pytest.mark.parametrize("separator", [" ", ",", ";", "\t"])
@pytest.mark.parametrize(
    "rows", [["1", "2", "3"], ["37", "4", "12"], ["Fiat X1-9", "Volvo 142E", "Merc 230"]]
)
@pytest.mark.parametrize("width", [1, 2, 3])
def test_names_of_rows_as_r_writes_them(
    tmp_path: Path, dress: str, separator: str, rows: list[str], width: int
) -> None:
    if dress == "plain" and (width == 1 or rows[0].startswith("F")):
        return  # numbers with decimal commas, or texts with blanks, look the same
    mark = '"' if dress == "quoted" else ""
    names = ["mpg", "kind", "wt"][:width]
    body = [
        ["21.5", f"{mark}u{mark}", "2.6"],
        ["30", f"{mark}v{mark}", "NA"],
        ["21.4", f"{mark}u{mark}", "-1"],
    ]
    lines = [separator.join(f"{mark}{name}{mark}" for name in names)]
    lines += [separator.join([f"{mark}{name}{mark}", *row[:width]]) for name, row in zip(rows, body)]
    found = cells(tmp_path, "\n".join(lines) + "\n")
    columns = {name: column.to_pylist() for name, column in found.columns.items()}
    assert columns == {name: [row[i].strip('"') for row in body] for i, name in enumerate(names)}
    assert f"({rows[0]!r}, {rows[1]!r}, ...) has no name in the first line" in found.remarks[0]
    assert found.style.separator == separator and found.style.quotes == ("texts" if mark else "needed")


def test_utf16_with_its_mark_is_read(tmp_path: Path) -> None:
    (tmp_path / "data.csv").write_bytes("Gr\u00f6\u00dfe\tb\r\n1\t2\r\n".encode("utf-16"))
    found = read_cells(tmp_path / "data.csv")
    assert {name: column.to_pylist() for name, column in found.columns.items()} == {
        "Gr\u00f6\u00dfe": ["1"],
        "b": ["2"],
    }
    assert found.style.encoding == "utf-16" and found.style.end == "\r\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("day,x\n2020-01-01,1.5,7\n2020-01-02,2,8\n", "line 2 has 3 fields, .* name a first column"),
        ('"x" "k"\n"2020-01-01" 1 2\n"2020-01-02" 3 4\n', "line 2 has 3 fields, .* name a first column"),
        ("x,k\na,1,2\na,3,4\n", "line 2 has 3 fields"),
        (
            "x\tk\n" + "".join(f"r{i}\t1\t2\n" for i in range(200)) + "r7\t1\t2\n",
            r"first fields \('r0', 'r1', ...\) repeat",
        ),
        ("a\0,b\n1,2\n", r"byte 1 \(0x00\) is no character of a text"),
        (
            "@relation r\n@attribute a numeric\n@data\n1\n",
            "in the format of Weka .*scipy.io.arff.loadarff",
        ),
        ("a,b\n1,2\n3\n", r"line 3 has 1 fields, but the first line names 2 columns \(none for column 'b'\)"),
        ("a,b\n1,2\n3,4,5\n", r"line 3 has 3 fields, .* \(the first one too many is '5'\)"),
        ("a,b\n\n# x\n1,2\n3,4,5\n", "line 5 has 3 fields"),
        ('a,b\n1,2\n3,"4\n5,6\n', r"the row that begins in line 3 cannot be read \(unexpected end of data\)"),
        ('a,b\n1,"2"3\n', "the row that begins in line 2 cannot be read"),
        ("a, a\n1,2\n", "columns 1 and 2 are both named 'a'; rename one"),
        ("a,b\n", "has a line of column names and no rows"),
        ("1.5,2\n3,4\n", "the first line must name the columns, got '1.5,2'"),
        ("#only\n", "has only comments and no rows"),
        (
            "Account\n\nday;sum\n1.1.2020;7,5\n2.1.2020;8,5\n",
            r"names one column \('Account'\), .* 2 fields parted by ';'",
        ),
        (
            "Account;77;\n\nday;of;sum\nx;1.1.2020;7,5\n",
            r"row 1 seems to name them \('day', 'of', 'sum'\); delete",
        ),
        ("Account;77\n\nday;of;sum\nx;1.1.2020;7,5\n", "line 3 has 3 fields, .* or delete lines of a title"),
    ],
)
def test_what_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        read(tmp_path, text)
    assert "data.csv" in str(caught.value) and "\n" not in str(caught.value)


def test_lines_that_are_skipped_are_counted(tmp_path: Path) -> None:
    remarks = cells(tmp_path, "# one\n# two\na,b,\n1,2,\n# three\n3,4,\n").remarks
    assert remarks == [
        "2 lines of comments above the names of the columns are left out",
        "1 lines of comments between the rows are left out",
        "column 3 has neither a name nor values and is left out",
    ]
    assert "1 blank lines between the rows" in cells(tmp_path, "y\n1\n\n2\n").remarks[0]


def test_long_files_are_read_in_blocks(tmp_path: Path) -> None:
    found = read(tmp_path, "a,b\n" + "".join(f"{i},{-i}\n" for i in range(150_000)))
    assert found["a"] == [str(i) for i in range(150_000)] and found["b"][-1] == "-149999"


@pytest.mark.parametrize("data", ["a,b\n1,2\n".encode("utf-32"), b"\xff\xfea"])
def test_what_begins_as_utf16_and_is_none_is_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "data.csv").write_bytes(data)
    with pytest.raises(DataError, match="begins as UTF-16 text does, and is none; save the file as UTF-8"):
        read_cells(tmp_path / "data.csv")


def test_empty_last_fields_are_said_or_refused(tmp_path: Path) -> None:
    """They are a separator's at the end of each line, or a column's where first fields may be names of rows."""
    found = cells(tmp_path, "x,y\n1,2,\n3,4,\n")
    assert list(found.columns) == ["x", "y"] and any(
        "2 rows end with a separator" in one for one in found.remarks
    )
    for text in ('"z","x"\n"1",10.3,\n"2",4.1,\n', "z,x\nBob,10.3,\nAda,4.1,\n"):
        with pytest.raises(DataError, match=r"begin with what may be names of rows \('(1|Bob)', ...\)"):
            read(tmp_path, text)
