"""Whether columns are a series, by their names or the user's word."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from anyformer.tasks import create_task
from anyformer.tasks.categories import Category
from anyformer.tasks.encoding import DataLayout
from anyformer.tasks.labelled import RECORDS, SERIES
from anyformer.tasks.ordered_columns import read_in_order, steps_of
from anyformer.tasks.table_encoding import TableEncoding
from anyformer.train import load_bundle, model_for, save_bundle


@pytest.mark.parametrize(
    ("names", "found"),
    [
        ([f"t{i}" for i in range(9)], True),
        ([str(i) for i in range(-5, 6)], True),
        ([f"{950.5 + 2 * i} nm" for i in range(9)], True),
        ([f"x_{i}" for i in range(9, 0, -1)], True),
        ([f"t{i}" for i in range(8)], None),
        ([f"s{i}" for i in (0, 1, 2, 3, 4, 5, 7, 6, 8)], False),
        (["age", *(f"s{i}" for i in range(9))], None),
        (["mean radius", "mean texture", "area", "a", "b", "c", "d", "e", "f"], None),
        ([f"a{i}b" if i % 2 else f"b{i}b" for i in range(9)], None),
        (["t1"], None),
        ([], None),
    ],
)
def test_names_that_count_are_a_series(names: list[str], found: bool | None) -> None:
    """None where they are too few, or not numbered; of others it is said how they are read."""
    remarks: list[str] = []
    assert read_in_order(names, None, False, remarks) is bool(found)
    assert bool(steps_of(names) and len(names) >= 9) is (found is not None) is bool(remarks)
    assert all(f"ordered={not found}" in remark for remark in remarks)


def test_the_user_decides() -> None:
    remarks: list[str] = []
    assert read_in_order(["a", "b"], True, False, remarks) and not remarks
    assert not read_in_order([f"t{i}" for i in range(9)], False, False, remarks) and not remarks
    assert not read_in_order(["a"], None, True, remarks)
    with pytest.raises(ValueError, match="ordered=True does not apply to rows with categories"):
        read_in_order(["a"], True, True, remarks)


def table(path: Path, names: list[str], rows: int = 60) -> Path:
    rng = np.random.default_rng(0)
    values = rng.normal(size=(rows, len(names))) * np.arange(1, len(names) + 1)
    frame = pd.DataFrame(values, columns=names)
    frame["y"] = np.where(values[:, 0] > 0, "up", "down")
    frame.to_csv(path, index=False)
    return path


def test_columns_are_records_and_series_are_sequences(tmp_path: Path) -> None:
    record = create_task(str(table(tmp_path / "a.csv", ["age", "mass", "price"])), target="y")
    assert record.stream is not None and record.stream.shape == "record" and record.candidates == RECORDS
    with pytest.raises(ValueError, match="without an order; ordered=True reads them as a series"):
        model_for(record, "rocket", dim=8)
    series = create_task(str(table(tmp_path / "b.csv", [f"t{i}" for i in range(12)])), target="y")
    assert series.num_features == 1 and series.train_length == 12 and series.candidates == SERIES
    assert any("ordered=False" in note for note in series.notes())
    assert "MiniRocket" in [reference.name for reference in series.references()]
    # one scale for a series, one for each column of a record
    spread = series.train_sample(100).x[..., 0].std(0)
    assert float(spread[-1] / spread[0]) > 4
    columns = create_task(str(tmp_path / "b.csv"), target="y", ordered=False)
    assert columns.stream is not None and len(columns.stream.fields) == 12
    assert 0.7 < float(columns.train_sample(100).inputs["t11"].std()) < 1.3


@pytest.mark.parametrize("ordered", [None, True])
def test_new_rows_are_read_as_those_of_training(tmp_path: Path, ordered: bool | None) -> None:
    path = table(tmp_path / "a.csv", ["age", "mass", "price"])
    task = create_task(str(path), target="y", ordered=ordered)
    model = model_for(task, "[none]*1 channel=mlp dim=8" if ordered is None else "[qrnn]*1 dim=8")
    save_bundle(tmp_path / "model", model, task)
    bundle = load_bundle(tmp_path / "model")
    assert bundle.encoding is not None
    inputs = bundle.encoding.read(path).batch.inputs
    assert torch.is_tensor(inputs) is bool(ordered)
    assert len(bundle.predict(path).table) == 60


def test_folders_that_do_not_say_it_read_series() -> None:
    """Rows without categories were sequences before they said it."""
    layout = DataLayout(kind="columns", columns=["a", "b"])
    assert TableEncoding(layout=layout).record is None
    assert TableEncoding(layout=layout, ordered=False).record == ["a", "b"]
    category = Category(name="c", values=["x"])
    assert TableEncoding(layout=layout, categories=[category]).record == ["a", "b"]
