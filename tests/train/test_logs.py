"""Curves in files: lines of JSON, or rows of CSV; a file is appended to."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from anyformer.train.logs import log_file


def test_lines_of_json(tmp_path: Path) -> None:
    path = tmp_path / "new" / "curve.jsonl"
    log_file(path)(1, {"train/loss": 0.5})
    log_file(path)(2, {"train/loss": 0.25, "valid/accuracy": 1.0})
    assert [json.loads(line) for line in path.read_text().splitlines()] == [
        {"step": 1, "train/loss": 0.5},
        {"step": 2, "train/loss": 0.25, "valid/accuracy": 1.0},
    ]


def test_rows(tmp_path: Path) -> None:
    path = tmp_path / "curve.csv"
    for step in (1, 2):
        log_file(path)(step, {"train/loss": 0.5 / step, "valid/bits, a byte": step})
    table = pd.read_csv(path)
    assert list(table) == ["step", "name", "value"]
    assert table["value"].tolist() == [0.5, 1.0, 0.25, 2.0]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("curve.txt", r"log must name a file that ends in \.jsonl or \.csv, got '.*curve\.txt'"),
        ("there.csv/curve.csv", r"log: '.*curve\.csv' cannot be written \(.*\)"),
    ],
)
def test_what_is_no_log(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / "there.csv").write_text("")
    with pytest.raises(ValueError, match=message):
        log_file(tmp_path / name)
