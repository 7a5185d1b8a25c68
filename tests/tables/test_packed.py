"""Texts and tables packed by gzip are read as what is in them."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
import torch
from test_formats import FRAME, packed

from anyformer.tasks import DataError, open_data
from anyformer.tasks.text import ByteTask


@pytest.mark.parametrize(("name", "how"), [("data.csv.gz", "to_csv"), ("data.JSONL.GZ", "to_json")])
def test_packed_tables_are_read_as_what_is_in_them(tmp_path: Path, name: str, how: str) -> None:
    options = {"index": False} if how == "to_csv" else {"orient": "records", "lines": True}
    text = getattr(FRAME, how)(**options).encode()
    (tmp_path / name).write_bytes(gzip.compress(text))
    plain = tmp_path / name.lower().removesuffix(".gz")
    plain.write_bytes(text)
    packed, whole = (open_data(path, "label", keep="a") for path in (tmp_path / name, plain))
    assert torch.equal(*(task.train_sample(100).inputs["a"] for task in (packed, whole)))


def test_packed_texts_are_read_and_other_packed_files_are_not(tmp_path: Path) -> None:
    (tmp_path / "a.txt.gz").write_bytes(gzip.compress(b"some words " * 500))
    task = open_data(tmp_path / "a.txt.gz")
    assert isinstance(task, ByteTask) and bytes(task.train_sample(1).x[0, :5].tolist()) in b"some words " * 2
    (tmp_path / "b.parquet.gz").write_bytes(gzip.compress(packed("to_parquet")))
    with pytest.raises(DataError, match=r"b.parquet.gz: .gz files are not read: unpack it first"):
        open_data(tmp_path / "b.parquet.gz")


@pytest.mark.parametrize(
    "data",
    [b"a,b\n1,2\n", gzip.compress(b"a,b\n" + b"1,2\n" * 500, mtime=0)[:-12], b""],
    ids=["not packed", "cut", "empty"],
)
def test_packed_files_that_are_damaged_are_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a.csv.gz").write_bytes(data)
    with pytest.raises(DataError, match=r"a.csv.gz (cannot be unpacked by gzip: |is empty)"):
        open_data(tmp_path / "a.csv.gz", "b")
