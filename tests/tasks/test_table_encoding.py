"""New rows, texts, groups and arrays are encoded as those that a model was trained on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from anyformer.tasks import DataError, Task, open_data
from anyformer.tasks.base import SPLITS
from anyformer.tasks.batch import Batch
from anyformer.tasks.encoding import Encoding
from anyformer.tasks.labelled import LabelledTask
from anyformer.tasks.readers import load_encoding


def encoding_of(task: Task) -> Encoding:
    """The task's encoding, by way of what is stored beside a model."""
    import json

    assert task.encoding is not None
    return load_encoding(json.loads(json.dumps(task.encoding.model_dump(mode="json"))))


def saved(folder: Path, frame: pd.DataFrame, name: str = "data.csv") -> Path:
    frame.to_csv(folder / name, index=False)
    return folder / name


def rows(n: int = 120, seed: int = 0, **more: Any) -> pd.DataFrame:
    values = np.random.default_rng(seed).normal(5, 3, (n, 3))
    kind = np.where(values[:, 0] > values[:, 1], "high", "low")
    return pd.DataFrame({"a": values[:, 0], "b": values[:, 1], "c": values[:, 2], **more, "kind": kind})


def numbers(batch: Batch) -> torch.Tensor:
    """The inputs of a batch, those of records (B, F) side by side."""
    given = batch.inputs
    return given if isinstance(given, torch.Tensor) else torch.cat(list(given.values()), -1)


def own_batches(task: LabelledTask) -> tuple[torch.Tensor, torch.Tensor | None]:
    """The task's inputs in the order of its file."""
    size = sum(len(task._index[split]) for split in SPLITS)
    x = torch.zeros(0)
    mask = None
    for split in SPLITS:
        for batch in task.eval_batches(split, 1000):
            if not len(x):
                x = torch.zeros(size, *numbers(batch).shape[1:], dtype=numbers(batch).dtype)
                mask = (
                    None if batch.mask is None else torch.zeros(size, batch.mask.shape[1], dtype=torch.bool)
                )
            x[task._index[split]] = numbers(batch)
            if mask is not None and batch.mask is not None:
                mask[task._index[split]] = batch.mask
    return x, mask


def assert_same(path: Path, target: str | None = None, **options: Any) -> None:
    task = open_data(path, target, **options)
    assert isinstance(task, LabelledTask)
    unseen = encoding_of(task).read(path)
    x, mask = own_batches(task)
    assert torch.equal(numbers(unseen.batch), x)
    assert (unseen.batch.mask is None) == (mask is None)
    assert mask is None or torch.equal(unseen.batch.mask, mask)  # type: ignore[arg-type]


class TestOwnRows:
    """A file's rows, encoded as new ones, are bit for bit what the task trains on."""

    def test_numbers(self, tmp_path: Path) -> None:
        assert_same(saved(tmp_path, rows()), "kind")

    def test_numbers_with_missing_ones(self, tmp_path: Path) -> None:
        frame = rows()
        frame.loc[[3, 50], "b"] = np.nan
        assert_same(saved(tmp_path, frame), "kind")

    def test_texts(self, tmp_path: Path) -> None:
        texts = [f"{'good' if i % 2 else 'bad'} film number {i} " * (1 + i % 3) for i in range(60)]
        assert_same(saved(tmp_path, pd.DataFrame({"review": texts, "label": [i % 2 for i in range(60)]})))

    def test_groups(self, tmp_path: Path) -> None:
        days = pd.date_range("2024-01-01", periods=8).astype(str)
        parts = [
            pd.DataFrame(
                {"who": f"p{i}", "day": days[: 4 + i % 5], "v": np.arange(4.0 + i % 5) * i, "sick": i % 2}
            )
            for i in range(40)
        ]
        frame = pd.concat(parts).sample(frac=1, random_state=0)
        path = saved(tmp_path, frame)
        task = open_data(path, "sick", group="who", date="day")
        assert isinstance(task, LabelledTask)
        unseen = encoding_of(task).read(path)
        x, mask = own_batches(task)
        assert torch.equal(numbers(unseen.batch), x) and mask is not None
        assert torch.equal(unseen.batch.mask, mask)  # type: ignore[arg-type]
        assert unseen.names["who"].nunique() == 40

    @pytest.mark.parametrize("kind", ["tokens", "floats"])
    def test_arrays(self, tmp_path: Path, kind: str) -> None:
        rng = np.random.default_rng(0)
        x = rng.integers(0, 9, (50, 7)) if kind == "tokens" else rng.normal(3, 2, (50, 7, 2))
        np.savez(tmp_path / "data.npz", x=x, y=np.arange(50) % 3)
        assert_same(tmp_path / "data.npz")


class TestNewRows:
    def test_order_and_other_columns_do_not_matter(self, tmp_path: Path) -> None:
        encoding = encoding_of(open_data(saved(tmp_path, rows()), "kind"))
        new = rows(9, seed=1)
        want = encoding.read(saved(tmp_path, new, "new.csv"))
        shuffled = new[["c", "a", "b"]].assign(comment="x", d=7)
        found = encoding.read(saved(tmp_path, shuffled, "shuffled.csv"))
        assert torch.equal(numbers(found.batch), numbers(want.batch)) and len(found.batch) == 9

    def test_a_parquet_file_serves_as_well(self, tmp_path: Path) -> None:
        encoding = encoding_of(open_data(saved(tmp_path, rows()), "kind"))
        new = rows(9, seed=1)
        new.to_parquet(tmp_path / "new.parquet")
        want = encoding.read(saved(tmp_path, new, "new.csv"))
        assert torch.allclose(numbers(encoding.read(tmp_path / "new.parquet").batch), numbers(want.batch))

    def test_the_statistics_are_those_of_training(self, tmp_path: Path) -> None:
        encoding = encoding_of(open_data(saved(tmp_path, rows()), "kind"))
        new = rows(9)
        new[["a", "b", "c"]] += 100
        moved = numbers(encoding.read(saved(tmp_path, new, "new.csv")).batch)
        assert moved.mean() > 20

    def test_missing_values_are_named_where_no_training_row_had_any(self, tmp_path: Path) -> None:
        encoding = encoding_of(open_data(saved(tmp_path, rows()), "kind"))
        new = rows(9)
        new.loc[2, "b"] = np.nan
        unseen = encoding.read(saved(tmp_path, new, "new.csv"))
        assert numbers(unseen.batch)[2, 1] == 0 and numbers(unseen.batch).shape == (9, 3)
        assert unseen.remarks == ["1 value is missing; it is set to the mean"]

    def test_missing_values_are_named_where_training_rows_had_some(self, tmp_path: Path) -> None:
        old = rows()
        old.loc[:20, "a"] = np.nan
        encoding = encoding_of(open_data(saved(tmp_path, old), "kind"))
        new = rows(9)
        new.loc[2:3, "b"] = np.nan
        unseen = encoding.read(saved(tmp_path, new, "new.csv"))
        assert unseen.remarks == ["2 values are missing; they are set to the mean and marked"]

    def test_answers_are_names_with_probabilities(self, tmp_path: Path) -> None:
        encoding = encoding_of(open_data(saved(tmp_path, rows()), "kind"))
        unseen = encoding.read(saved(tmp_path, rows(2).drop(columns="kind"), "new.csv"))
        table = encoding.answers(unseen, torch.tensor([[0.0, 1.0], [3.0, 0.0]]))
        assert table["row"].tolist() == [1, 2] and table["kind"].tolist() == ["low", "high"]
        assert table["p(low)"].tolist() == pytest.approx([0.7311, 0.0474], abs=1e-4)

    def test_numbers_are_in_the_users_units(self, tmp_path: Path) -> None:
        frame = rows().drop(columns="kind").assign(price=lambda f: 1e8 + f["a"])
        task = open_data(saved(tmp_path, frame), "price")
        assert isinstance(task, LabelledTask)
        unseen = encoding_of(task).read(tmp_path / "data.csv")
        batch = next(task.eval_batches("test", 100))
        found = encoding_of(task).answers(unseen, torch.zeros(len(frame), 1))
        train = frame["price"].to_numpy()[task._index["train"]]
        assert found["price"].tolist() == pytest.approx([train.mean()] * len(frame), rel=1e-12)
        exact = batch.in_units(batch.targets)[:, 0]
        assert exact == pytest.approx(frame["price"].to_numpy()[task._index["test"]], abs=1e-4)

    @pytest.mark.parametrize(
        "change, message",
        [
            (
                lambda f: f.rename(columns={"b": "B"}),
                "^the model needs the columns 'a', 'b', 'c'.*no column 'b'; did you mean 'B'",
            ),
            (lambda f: f.assign(b="red"), r"column 'b' is not numeric \(it holds 'red'\)"),
            (lambda f: f[:0], "no rows"),
        ],
    )
    def test_what_cannot_be_encoded_is_named(self, tmp_path: Path, change: Any, message: str) -> None:
        encoding = encoding_of(open_data(saved(tmp_path, rows()), "kind"))
        with pytest.raises(DataError, match=message):
            encoding.read(saved(tmp_path, change(rows(9)), "new.csv"))

    def test_other_kinds_of_files_are_refused(self, tmp_path: Path) -> None:
        encoding = encoding_of(open_data(saved(tmp_path, rows()), "kind"))
        (tmp_path / "notes.txt").write_text("hello")
        with pytest.raises(DataError, match="rows are read from .csv"):
            encoding.read(tmp_path / "notes.txt")
        tokens = np.random.default_rng(0).integers(0, 5, (40, 6))
        np.savez(tmp_path / "data.npz", x=tokens, y=np.arange(40) % 2)
        arrays = encoding_of(open_data(tmp_path / "data.npz"))
        with pytest.raises(DataError, match="trained on an .npz file"):
            arrays.read(tmp_path / "data.csv")
        np.savez(tmp_path / "other.npz", x=np.full((2, 3), 5))
        with pytest.raises(DataError, match="tokens from 0 to 4, got 5 to 5"):
            arrays.read(tmp_path / "other.npz")


def test_a_target_called_as_what_tells_answers_apart(tmp_path: Path) -> None:
    frame = rows().rename(columns={"c": "row"})
    task = open_data(saved(tmp_path, frame), "row", kind="regress")
    unseen = encoding_of(task).read(tmp_path / "data.csv")
    shape = (len(unseen.batch), *unseen.batch.targets.shape[1:])
    table = encoding_of(task).answers(unseen, torch.zeros(shape))
    assert table.columns.tolist() == ["number of the row", "row"]
    assert table.iloc[:, 0].tolist() == [*range(1, len(table) + 1)]
