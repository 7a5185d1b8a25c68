from __future__ import annotations

import gzip
from io import BytesIO
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from anyformer.tasks import DataError, open_data
from anyformer.tasks.formats import REFUSED
from anyformer.tasks.text import ByteTask

FRAME = pd.DataFrame({"a": np.arange(40.0), "label": ["u", "v"] * 20})


@pytest.mark.parametrize("suffix", sorted(REFUSED))
def test_what_is_not_read_is_refused_with_a_remedy(tmp_path: Path, suffix: str) -> None:
    (tmp_path / f"data{suffix}").write_text("a,b\n1,2\n")
    with pytest.raises(
        DataError, match=f"data{suffix}: {suffix} files are not read: .*(convert|save|pack|supported)"
    ):
        open_data(tmp_path / f"data{suffix}")
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


@pytest.mark.parametrize(("name", "how"), [("data.csv.gz", "to_csv"), ("data.JSONL.GZ", "to_json")])
def test_packed_tables_are_read_as_what_is_in_them(tmp_path: Path, name: str, how: str) -> None:
    options = {"index": False} if how == "to_csv" else {"orient": "records", "lines": True}
    text = getattr(FRAME, how)(**options).encode()
    (tmp_path / name).write_bytes(gzip.compress(text))
    plain = tmp_path / name.lower().removesuffix(".gz")
    plain.write_bytes(text)
    packed, whole = (open_data(path, "label", keep="a") for path in (tmp_path / name, plain))
    assert torch.equal(packed.train_sample(100).x, whole.train_sample(100).x)


def test_packed_texts_are_read_and_other_packed_files_are_not(tmp_path: Path) -> None:
    (tmp_path / "a.txt.gz").write_bytes(gzip.compress(b"some words " * 500))
    task = open_data(tmp_path / "a.txt.gz")
    assert isinstance(task, ByteTask) and bytes(task.train_sample(1).x[0, :5].tolist()) in b"some words " * 2
    (tmp_path / "b.parquet.gz").write_bytes(gzip.compress(packed("to_parquet")))
    with pytest.raises(DataError, match=r"b.parquet.gz: .gz files are not read: unpack it first"):
        open_data(tmp_path / "b.parquet.gz")


@pytest.mark.parametrize("data", [b"a,b\n1,2\n", gzip.compress(b"a,b\n" + b"1,2\n" * 500)[:-12], b""])
def test_packed_files_that_are_damaged_are_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a.csv.gz").write_bytes(data)
    with pytest.raises(DataError, match=r"a.csv.gz (cannot be unpacked by gzip: |is empty)"):
        open_data(tmp_path / "a.csv.gz", "b")
