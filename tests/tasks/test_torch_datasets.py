"""PyTorch's Datasets go through train and predict as the arrays that they hold."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import Dataset, IterableDataset, Subset, TensorDataset

from anyformer.compare import compare
from anyformer.tasks import DataError, open_data
from anyformer.tasks.memory import on_disk
from anyformer.tasks.torch_datasets import arrays_of_dataset
from anyformer.train import Fit, load_bundle

SPEC = "[mamba]*1 dim=16"


class Items(Dataset[Any]):
    def __init__(self, items: list[Any]) -> None:
        self.items = items

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, place: int) -> Any:
        return self.items[place]


def read(data: Dataset[Any], folder: Path) -> Any:
    with on_disk(data, folder) as path:
        return open_data(path)


def walks(count: int = 200, seed: int = 0) -> list[tuple[torch.Tensor, int]]:
    """Sequences of two features and of 4 to 9 steps; the class is the sign of the first feature's mean."""
    draw, found = np.random.default_rng(seed), []
    for _ in range(count):
        label = int(draw.integers(2))
        x = draw.normal((2 * label - 1, 0), size=(int(draw.integers(4, 10)), 2))
        found.append((torch.tensor(x, dtype=torch.float32), label))
    return found


def test_sequences_of_numbers_of_any_length(tmp_path: Path) -> None:
    fit = Fit.start(tmp_path / "m", Items(walks()), SPEC, steps=40, learning_rate=1e-2)
    assert fit.task.num_features == 2 and fit.task.train_length == 9
    batch = next(fit.task.eval_batches("test", 100))
    assert batch.mask is not None and set(batch.mask.sum(1).tolist()) <= set(range(4, 10))
    fit.run()
    assert fit.test is not None and fit.test > 0.85
    new, bundle = walks(20, 1), load_bundle(tmp_path / "m")
    told = bundle.predict(Items([x for x, _ in new])).table
    assert (told.y.astype(int) == [y for _, y in new]).mean() > 0.8
    again = bundle.predict(Items(new), batch_size=3).table
    np.testing.assert_allclose(again["p(1)"], told["p(1)"], rtol=1e-4)
    one = bundle.predict(Items([new[0][0]])).table
    assert one["p(1)"][0] == pytest.approx(told["p(1)"][0], rel=1e-4), "what is padded changes nothing"


def test_tokens(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    items = [(draw.integers(7, size=int(draw.integers(3, 6))), "ab"[i % 2]) for i in range(60)]
    task = read(Items(items), tmp_path)
    assert task.vocab_size == 7 and task.classes == ["a", "b"] and task.train_length == 5
    assert any("read once and kept" in note for note in task.notes())


@pytest.mark.parametrize("form", ["CHW uint8", "HWC uint8", "CHW float", "Pillow"])
def test_images(form: str, tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    pixels = draw.integers(256, size=(40, 6, 8, 3), dtype=np.uint8)
    shown: dict[str, Any] = {
        "CHW uint8": lambda x: torch.from_numpy(x).permute(2, 0, 1),
        "HWC uint8": lambda x: x,
        "CHW float": lambda x: torch.from_numpy(x).permute(2, 0, 1) / 255,
        "Pillow": Image.fromarray,
    }
    data = Items([(shown[form](x), i % 2) for i, x in enumerate(pixels)])
    assert np.array_equal(arrays_of_dataset(data)["x"], pixels)
    task = read(data, tmp_path)
    assert task.stream.size == (6, 8) and task.classes == ["0", "1"]


def test_numbers_to_predict_and_parts_of_a_dataset(tmp_path: Path) -> None:
    x, y = torch.randn(80, 6), torch.randn(80, 2)
    task = read(Subset(TensorDataset(x, y), range(60)), tmp_path)
    assert task.metric.name == "MAE" and task.num_features == 1
    assert sum(map(task.size, ("train", "valid", "test"))) == 60


def test_short_sequences_of_many_features_need_no_option(tmp_path: Path) -> None:
    task = read(Items([(np.random.default_rng(i).normal(size=(3, 9)), i % 2) for i in range(40)]), tmp_path)
    assert task.num_features == 9 and task.train_length == 3


class Endless(IterableDataset[Any]):
    def __iter__(self) -> Any:
        yield 1, 2


class WithoutLength(Dataset[Any]):
    def __getitem__(self, place: int) -> Any:
        return place, 0


T = torch.zeros


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (Endless(), "an IterableDataset has no items by number.*: give a map-style Dataset"),
        (WithoutLength(), "the Dataset WithoutLength has no __len__"),
        (Items([]), "the Dataset is empty"),
        (Items([T(3)] * 30), "item 0 of the Dataset must be a pair .* got a Tensor"),
        (Items([{"x": 1, "y": 2}] * 30), "item 0 .* got a dict of 2"),
        (Items([(T(()), 0)] * 30), r"x of item 0 must be .*, got the shape \(\)"),
        (Items([(T(3), 0), (T(3, 2), 0)]), r"x of item 1 must be \(T,\) as that of item 0, got the shape \(3, 2\)"),
        (Items([(T(3, 2), 0), (T(4, 3), 0)]), r"x of item 1 must be \(T, 2\) as that of item 0, got .* \(4, 3\)"),
        (Items([(T(3), 0), (T(0), 0)]), r"x of item 1 must be .*, got the shape \(0,\)"),
        (Items([(T(5, 6, 6), 0)] * 30), r"1 or 3 channels, got the shape \(5, 6, 6\)"),
        (Items([(T(3, 6, 6), 0), (T(3, 6, 7), 0)]), r"item 1 must be an image of the shape \(3, 6, 6\)"),
        (Items([(T(3, 6, 6) - 1, 0)] * 30), "floats from 0 to 1, got -1 to -1: leave out a normalisation"),
        (Items([(T(3, 6, 6, dtype=torch.int64), 0)] * 30), "must hold uint8 or floats from 0 to 1, got int64"),
        (Items([(T(2, 2, 2, 2), 0)] * 30), r"x of item 0 must be .*, got the shape \(2, 2, 2, 2\)"),
        (Items([(["a"], 0)] * 30), "x of item 0 must hold numbers, got list"),
        (Items([(T(3), 0), (T(3), T(2))]), r"y of item 1 must be one class .* got the shape \(2,\)"),
        (Items([(T(3), None)] * 30), "y of item 0 must hold numbers, got NoneType"),
        (Items([(T(3) + i, i % 2) for i in range(9)]), "9 labelled sequences are too few"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_names_the_item(data: Dataset[Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message):
        read(data, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_compare_writes_it_into_its_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="an IterableDataset"):
        compare(Endless(), "mamba", out=tmp_path / "c", quiet=True)
    with pytest.raises(ValueError, match="target does not apply to .npz files"):
        compare(Items(walks(30)), "mamba", target="y", out=tmp_path / "c", quiet=True)
    assert not (tmp_path / "c").exists()


@pytest.mark.parametrize(
    ("lengths", "message"),
    [
        ([1] * 39, r"lengths must be \(40,\) whole numbers from 1 to 5, got int64 \(39,\)"),
        ([0] * 40, "from 1 to 5, which are 0 to 0"),
        ([6] * 40, "which are 6 to 6"),
        ([1.5] * 40, "got float64"),
    ],
)
def test_lengths_of_a_file(lengths: list[float], message: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "a.npz", x=rng.normal(size=(40, 5)), y=np.arange(40) % 2, lengths=lengths)
    with pytest.raises(DataError, match=message):
        open_data(tmp_path / "a.npz")
