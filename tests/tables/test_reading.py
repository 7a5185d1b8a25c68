"""Files that have typed their values are checked as files of text are."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from anyformer.tables.numbercells import Convention
from anyformer.tables.reading import from_objects, read_parquet
from anyformer.tasks import DataError, Task, open_data

ROWS = 60
LABELS = ["u", "v"] * (ROWS // 2)


def written(folder: Path, kind: str, columns: dict[str, list[Any]]) -> Path:
    path = folder / f"data.{kind}"
    if kind == "parquet":
        pd.DataFrame(columns).to_parquet(path)
    else:
        path.write_text("\n".join(json.dumps(dict(zip(columns, row))) for row in zip(*columns.values())))
    return path


def opened(folder: Path, kind: str, target: str = "label", **columns: list[Any]) -> Task:
    values = np.random.default_rng(0).normal(size=ROWS).tolist()
    return open_data(written(folder, kind, {"a": values, "label": LABELS, **columns}), target)


@pytest.mark.parametrize("kind", ["parquet", "jsonl"])
@pytest.mark.parametrize(
    ("odd", "message"),
    [
        ({"a ": [1.5] * ROWS}, "two columns are named 'a'; rename one"),
        ({"y": [None] * ROWS}, "column 'y' of .* has no value in any row"),
        ({"y": [7] * ROWS}, "only one value, '7'"),
        ({"y": [{"a": 1}] * ROWS}, "column 'y' holds lists or objects; a single value a row is needed"),
    ],
)
def test_what_cannot_be_used_is_refused(tmp_path: Path, kind: str, odd: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        opened(tmp_path, kind, "y" if "y" in odd else "label", **odd)


@pytest.mark.parametrize("kind", ["parquet", "jsonl"])
@pytest.mark.parametrize("value", [float("inf"), 1e300, -float("inf")])
def test_values_beyond_measure_are_missing_and_said(tmp_path: Path, kind: str, value: float) -> None:
    task = opened(tmp_path, kind, c=[value if i == 5 else i % 7 * 0.5 for i in range(ROWS)])
    assert any("'c' are infinite or beyond 1e+100" in note and "in row 6" in note for note in task.notes())


@pytest.mark.parametrize("kind", ["parquet", "jsonl"])
def test_nested_values_are_left_out_and_said(tmp_path: Path, kind: str) -> None:
    task = opened(tmp_path, kind, c=[{"d": 1}] * ROWS)
    assert task.describe()["columns"] == ["a"] and any(
        "left out: 'c', which holds lists" in n for n in task.notes()
    )


def test_long_numbers_and_mixed_types_in_jsonl(tmp_path: Path) -> None:
    task = opened(tmp_path, "jsonl", c=[10**399 if i == 5 else i % 7 * 0.5 for i in range(ROWS)])
    assert any("beyond 1e+100" in note and "in row 6" in note for note in task.notes())
    task = opened(tmp_path, "jsonl", c=["x" if i % 2 else 1.5 for i in range(ROWS)])
    assert any("'c', which has 30 values of 60 that are not numbers" in note for note in task.notes())
    task = opened(tmp_path, "jsonl", "y", y=[[True, 1, 0, False][i % 4] for i in range(ROWS)])
    assert "'y' holds numbers and truth values, which are kept apart as texts" in task.notes()


def test_a_name_twice_in_one_object_or_table_is_refused(tmp_path: Path) -> None:
    (tmp_path / "data.jsonl").write_text('{"a": 1, "label": "u"}\n{"a": 1, "label": "u", "a": 2}\n')
    with pytest.raises(DataError, match=r"data\.jsonl: line 2 has 'a' twice in one object; rename one"):
        open_data(tmp_path / "data.jsonl", "label")
    pq.write_table(pa.table([[1, 2], [3, 4]], names=["a", "a"]), tmp_path / "data.parquet")
    with pytest.raises(DataError, match=r"data\.parquet: two columns are named 'a'; rename one"):
        open_data(tmp_path / "data.parquet", "a")


def test_what_is_no_json_is_placed(tmp_path: Path) -> None:
    (tmp_path / "data.jsonl").write_text('{"a": 1}\n{"a": }\n')
    with pytest.raises(DataError, match="line 2 is not JSON: Expecting value at character 7"):
        open_data(tmp_path / "data.jsonl", "a")


def test_arrays(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(ROWS, 5)), rng.normal(size=ROWS)
    for wrong in (np.inf, 1e300, np.nan):
        np.savez(tmp_path / "data.npz", x=x, y=np.where(np.arange(ROWS) == 3, wrong, y))
        with pytest.raises(
            DataError, match="y holds 1 values that are missing, infinite or beyond .* in row 4"
        ):
            open_data(tmp_path / "data.npz")
    np.savez(tmp_path / "data.npz", x=x, y=np.array([b"u", b"v"])[(y > 0) * 1])
    assert open_data(tmp_path / "data.npz").describe()["classes"].keys() == {"u", "v"}
    np.savez(tmp_path / "data.npz", x=2**60 + rng.integers(0, 2**40, (ROWS, 5)), y=y)
    assert any("more digits than a number holds" in note for note in open_data(tmp_path / "data.npz").notes())


def test_a_folder_of_tables_is_no_text(tmp_path: Path) -> None:
    written(tmp_path, "jsonl", {"a": list(range(900)), "label": ["u"] * 900})
    (tmp_path / "readme.txt").write_text("About the data.\n")
    with pytest.raises(DataError, match=r"holds tables \(data\.jsonl\): give one of them, or raw=True"):
        open_data(tmp_path)
    assert open_data(tmp_path, raw=True).notes() is not None
    (tmp_path / "book.txt").write_text("Once upon a time there was a hen. " * 2000)
    assert open_data(tmp_path).notes() is not None


CELLS = ["a", "b ", "", "  ", "NA", "1", "2.5", "1,5", "07", "true", "-", "item 7", None]


@pytest.mark.parametrize("seed", range(12))
def test_texts_of_parquet_are_read_as_those_of_objects(tmp_path: Path, seed: int) -> None:
    """Encoded by a dictionary or not, in one piece or several, they give what each cell's object gives."""
    rng = np.random.default_rng(seed)
    few = rng.choice(len(CELLS), rng.integers(1, 5), replace=False)
    frame = pd.DataFrame(
        {
            "numbers": rng.choice(["1", "2.5", "1,234", ""] if seed % 2 else ["1", "2.5"], 40),
            "few": pd.Series([CELLS[one] for one in rng.choice(few, 40)], dtype=object),
            "whole": np.arange(40),
            " any ": pd.Series([CELLS[one] for one in rng.integers(0, len(CELLS), 40)], dtype=object),
        }
    )
    encoded = pa.table(
        {
            "numbers": pa.array(frame["numbers"], pa.string()).dictionary_encode(),
            "few": pa.array(frame["few"], pa.large_string()),
            "whole": pa.array(frame["whole"]),
            " any ": pa.array(frame[" any "], pa.string()),
        }
    )
    pq.write_table(encoded, tmp_path / "data.parquet", row_group_size=7)
    for convention in (Convention(), Convention(missing=frozenset(["a"])), Convention(decimal=",")):
        found = read_parquet(tmp_path / "data.parquet", convention)
        told = from_objects(tmp_path / "data.parquet", frame.astype({"numbers": object}), convention)
        pd.testing.assert_frame_equal(found.frame, told.frame)
        assert (found.notes, found.marks, found.refusals) == (told.notes, told.marks, told.refusals)
        assert found.decimal == told.decimal
        for name in found.frame:
            pd.testing.assert_series_equal(found.keys(name), told.keys(name))
            assert (name in found.written) == (name in told.written)


def test_parquet_of_texts_alone_and_of_no_rows(tmp_path: Path) -> None:
    pd.DataFrame({"a": ["x", None], "b": ["1", "2"]}).to_parquet(tmp_path / "data.parquet")
    table = read_parquet(tmp_path / "data.parquet", Convention())
    assert table.frame["a"].tolist() == ["x", None] and table.frame["b"].tolist() == [1, 2]
    pd.DataFrame({"a": pd.Series([], dtype=str)}).to_parquet(tmp_path / "none.parquet")
    assert read_parquet(tmp_path / "none.parquet", Convention()).frame.empty


def test_different_values_are_those_of_the_rows(tmp_path: Path) -> None:
    pd.DataFrame({"a": ["x ", None, "x", "y"], "n": [3, 1, 3, 2]}).to_parquet(tmp_path / "data.parquet")
    table = read_parquet(tmp_path / "data.parquet", Convention())
    some = replace(table, frame=table.frame.iloc[[3, 2, 1]])
    for one in (table, some):
        for name in "an":
            column = one.distinct(name)
            assert column.index.equals(one.frame.index)
            assert column.astype(object).where(column.notna(), None).tolist() == one.keys(name).tolist()
