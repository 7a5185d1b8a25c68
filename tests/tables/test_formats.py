from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from anyformer.tables.formats import REFUSED
from anyformer.tasks import DataError, open_data
from anyformer.tasks.text import ByteTask

FRAME = pd.DataFrame({"a": np.arange(40.0), "label": ["u", "v"] * 20})


@pytest.mark.parametrize("suffix", sorted(REFUSED))
def test_what_is_not_read_is_refused_with_a_remedy(tmp_path: Path, suffix: str) -> None:
    (tmp_path / f"data{suffix}").write_text("a,b\n1,2\n")
    with pytest.raises(
        DataError,
        match=f"data{suffix}: {suffix} files are not read: .*(convert|save|pack|supported|are read from)",
    ):
        open_data(tmp_path / f"data{suffix}")
    for name in ("a.txt", "b.txt"):
        (tmp_path / name).write_text("text")
    with pytest.raises(DataError, match=f"holds data{suffix}, which is not text"):
        open_data(tmp_path)


@pytest.mark.parametrize(
    ("suffix", "line"),
    [
        (".dta", "pandas.read_stata('data.dta')"),
        (".sav", "pandas.read_spss('data.sav')"),
        (".feather", "pandas.read_feather('data.feather')"),
        (".xlsx", "pandas.read_excel('data.xlsx')"),
    ],
)
def test_the_remedy_names_the_file(tmp_path: Path, suffix: str, line: str) -> None:
    (tmp_path / f"data{suffix}").write_bytes(b"x")
    with pytest.raises(DataError) as caught:
        open_data(tmp_path / f"data{suffix}")
    assert line in str(caught.value)


def packed(how: str) -> bytes:
    out = BytesIO()
    getattr(FRAME, how)(out)
    return out.getvalue()


@pytest.mark.parametrize("name", ["data.csv", "data.jsonl", "data.txt", "data"])
@pytest.mark.parametrize("how", ["to_parquet", "to_feather", "to_stata"])
def test_a_format_under_a_wrong_name_is_told_by_its_bytes(tmp_path: Path, name: str, how: str) -> None:
    (tmp_path / name).write_bytes(packed(how))
    with pytest.raises(DataError, match="by its first bytes|is no character of a text"):
        open_data(tmp_path / name)


def test_declared_series_and_tables_are_no_text(tmp_path: Path) -> None:
    series = tmp_path / "gun.ts"
    series.write_text("# UCR\n@problemName gun\n@data\n" + "1,2,3:u\n" * 200)
    with pytest.raises(DataError, match="UCR archive .*numpy.savez"):
        open_data(series)
    weka = tmp_path / "iris.txt"
    weka.write_text("@RELATION iris\n@ATTRIBUTE a NUMERIC\n@DATA\n" + "1\n" * 600)
    with pytest.raises(DataError, match="Weka .*loadarff\\('iris.txt'\\)"):
        open_data(weka)
    code = tmp_path / "code.ts"
    code.write_text("export const data = 1; // @data\n" * 200)
    assert isinstance(open_data(code), ByteTask)


def test_bytes_that_are_no_text_are_read_only_when_asked(tmp_path: Path) -> None:
    (tmp_path / "data.bin").write_bytes(b"ab\0c" * 600)
    with pytest.raises(DataError, match=r"byte 2 \(0x00\) is no character of a text"):
        open_data(tmp_path / "data.bin")
    assert isinstance(open_data(tmp_path / "data.bin", raw=True), ByteTask)
