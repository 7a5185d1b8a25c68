"""What is written in a file's style is read back with the same values and in the same style."""

from __future__ import annotations

import gzip
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anyformer.tables.delimited import DelimitedStyle
from anyformer.tables.numbercells import Convention
from anyformer.tables.reading import read_csv
from anyformer.tables.writing import _number, significant, write_table
from anyformer.tasks import open_data
from anyformer.train.bundle import Predictions

styles = st.builds(
    DelimitedStyle,
    separator=st.sampled_from([",", ";", "\t", "|", " "]),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
    quotes=st.sampled_from(["needed", "texts", "all"]),
    end=st.sampled_from(["\n", "\r\n"]),
    decimal=st.sampled_from([".", ","]),
)
numbers = st.floats(-1e12, 1e12).map(lambda value: round(value, 3) + 0.5)
words = st.sampled_from(
    ["u", "v w", 'say "no"', "a;b", "c,d", "\N{EURO SIGN} x", "# no", "e|f\tg", "two\nlines"]
)


@settings(max_examples=80, deadline=None, derandomize=True)
@given(styles, st.lists(st.tuples(words, numbers, st.integers(0, 9999)), min_size=5, max_size=12))
def test_what_is_written_is_read(style: DelimitedStyle, rows: list[tuple[str, float, int]]) -> None:
    rows = [*rows, ("u", -0.25, 7), ("v w", np.nan, 3)]
    frame = pd.DataFrame(rows, columns=["some words", "p(u)", "step"])
    with TemporaryDirectory() as folder:
        path = Path(folder) / "out.csv"
        Predictions(frame, path, [], style).save(path)
        table = read_csv(path, Convention(decimal=style.decimal))
    assert table.style == style
    assert table.written["some words"].tolist() == frame["some words"].tolist()
    assert table.frame["step"].tolist() == frame["step"].tolist()
    np.testing.assert_allclose(table.frame["p(u)"].to_numpy(float), frame["p(u)"], rtol=1e-6)


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("day;y\n{};{},5\n", "day;y\n2024-03-01;1234,5\n2024-03-02;\n"),
        ("day,y\n{},{}.5\n", "day,y\n2024-03-01,1234.5\n2024-03-02,\n"),
        ('"day";"y"\r\n"{}";{},5\r\n', '"day";"y"\r\n"2024-03-01";1234,5\r\n"2024-03-02";\r\n'),
        ('"day" "y"\n"{}" {}.5\n', '"day" "y"\n"2024-03-01" 1234.5\n"2024-03-02" NA\n'),
        ('"day","y"\n"{}","{},5"\n', '"day","y"\n"2024-03-01","1234,5"\n"2024-03-02",\n'),
        ("day\ty\n{}\t{}\n", "day\ty\n2024-03-01\t1234.5\n2024-03-02\t\n"),
        ("day;y\n{};{}\n", "day;y\n2024-03-01;1234,5\n2024-03-02;\n"),
    ],
)
def test_predictions_look_as_the_data_does(tmp_path: Path, text: str, written: str) -> None:
    head, line = text.splitlines(keepends=True)
    days = pd.date_range("2024-01-01", periods=60).strftime("%Y-%m-%d")
    (tmp_path / "data.csv").write_bytes(
        (head + "".join(line.format(day, i * 7 % 11) for i, day in enumerate(days))).encode()
    )
    encoding = open_data(tmp_path / "data.csv", "y").encoding
    assert encoding is not None
    style = encoding.read(tmp_path / "data.csv").style
    frame = pd.DataFrame({"day": ["2024-03-01", "2024-03-02"], "y": [1234.5, np.nan]})
    write_table(frame, tmp_path / "out.csv", style)
    assert (tmp_path / "out.csv").read_bytes().decode() == written


def test_numbers_keep_the_digits_of_float32(tmp_path: Path) -> None:
    values = np.array([1234567.8, 0.1 + 0.2, 1e-9, 2.5e20, 3e8, -0.0, 5.0])
    frame = pd.DataFrame({"y": significant(values, np.full(7, 1e10))})
    write_table(frame, tmp_path / "out.csv", DelimitedStyle())
    assert (tmp_path / "out.csv").read_text().split() == [
        "y",
        "1234568",
        "0.3",
        "1e-09",
        "2.5e+20",
        "300000000",
        "-0",
        "5",
    ]


@pytest.mark.parametrize("name", ["out.csv", "out.tsv", "out.csv.gz", "out.jsonl", "out.parquet", "out"])
def test_the_ending_of_the_name_says_what_is_written(tmp_path: Path, name: str) -> None:
    frame = pd.DataFrame({"day": ["2024-03-01", "2024-03-02"], "y": [0.1, 12.5]})
    Predictions(frame, tmp_path, [], DelimitedStyle(separator=";", decimal=",")).save(tmp_path / name)
    data = (tmp_path / name).read_bytes()
    if name == "out.parquet":
        assert pd.read_parquet(tmp_path / name).equals(frame)
    elif name == "out.jsonl":
        assert data == b'{"day": "2024-03-01", "y": 0.1}\n{"day": "2024-03-02", "y": 12.5}\n'
    else:
        mark = b"\t" if name == "out.tsv" else b";"
        text = gzip.decompress(data) if name == "out.csv.gz" else data
        assert text == b"day;y\n2024-03-01;0,1\n2024-03-02;12,5\n".replace(b";", mark)


@pytest.mark.parametrize("name", ["out.xlsx", "out.json", "out.npz", "out.parquet.gz"])
def test_what_cannot_be_written_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="files are not written; name it .csv"):
        write_table(pd.DataFrame({"y": [1.0]}), tmp_path / name, DelimitedStyle())
    assert not (tmp_path / name).exists()


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    st.integers(-14, 15).map(lambda power: 10.0**power),
    st.integers(-14, 14).map(lambda power: 3.0 * 10.0**power),
    st.floats(-1, 1),
)
def test_digits_that_a_model_tells_are_kept(level: float, scale: float, place: float) -> None:
    """A prediction is ``level + scale * place``, of which float32 tells the digits of the second part."""
    value = level + scale * place
    kept = significant(np.array([value]), np.array([scale]))[0]
    # six digits of the scale or seven of the value, whichever tells more; and what float64 holds
    assert abs(kept - value) <= max(5.1e-6 * scale, 3e-16 * abs(value))
    assert float(_number(kept)) == kept
