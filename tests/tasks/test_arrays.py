"""Arrays in ``.npz`` files as tasks."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
from test_labelled import opened, scores

from anyformer.tasks import DataError, open_data


class TestArrays:
    def saved(self, folder: Path, **arrays: np.ndarray) -> Path:
        np.savez(folder / "a.npz", **arrays)  # type: ignore[arg-type]
        return folder / "a.npz"

    @pytest.mark.parametrize("shape", [(80, 12), (80, 12, 3)])
    def test_shapes(self, tmp_path: Path, shape: tuple[int, ...]) -> None:
        x = np.random.default_rng(0).standard_normal(shape)
        task = opened(self.saved(tmp_path, x=x, y=np.arange(80) % 3))
        assert (task.train_length, task.num_features, task.objective.num_outputs) == (12, (*shape, 1)[2], 3)
        several = opened(self.saved(tmp_path, x=x, y=x.reshape(80, -1)[:, :2]))
        assert several.objective.num_outputs == 2 and scores(several)["linear"] < scores(several)["median"]

    @pytest.mark.parametrize("dtype", [np.float16, np.float32])
    def test_targets_of_few_bits_are_kept_and_checked(self, tmp_path: Path, dtype: type) -> None:
        x = np.random.default_rng(0).standard_normal((80, 12))
        y = (x[:, 0] * 1000 + 5e4).astype(dtype)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            task = opened(self.saved(tmp_path, x=x, y=y))
        whole = opened(self.saved(tmp_path, x=x, y=y.astype(np.float64)))
        assert np.allclose(task._y, whole._y, atol=1e-6)
        with pytest.raises(DataError, match="y holds 1 values that are .* infinite .*first in row 4"):
            open_data(self.saved(tmp_path, x=x, y=np.where(np.arange(80) == 3, np.inf, y).astype(dtype)))

    def test_whole_numbers_are_tokens(self, tmp_path: Path) -> None:
        x = np.random.default_rng(0).integers(0, 9, (80, 12))
        task = opened(self.saved(tmp_path, x=x, y=np.array(["a", "b"])[x[:, 0] % 2]))
        assert task.vocab_size == 9 and "taken for tokens" in task.notes()[-1]

    def test_further_arrays_are_left_out_with_a_word(self, tmp_path: Path) -> None:
        x = np.random.default_rng(0).standard_normal((80, 12))
        path = self.saved(tmp_path, x=x, y=np.arange(80) % 3, mask=x > 0, x_test=x)
        assert "left out: 'mask', 'x_test', as only the arrays x and y are read" in opened(path).notes()

    def test_splits_of_ones_own(self, tmp_path: Path) -> None:
        x, y = np.random.default_rng(0).standard_normal((60, 12)), np.arange(60) % 3
        split = np.repeat(["TRAIN", "test"], 30)
        task = opened(self.saved(tmp_path, x=x, y=y, split=split))
        assert task.size("test") == 30 and task.size("train") + task.size("valid") == 30
        assert "the splits are as given: 30 rows train, 0 rows valid, 30 rows test" in task.notes()
        assert not any("left out" in note for note in task.notes())
        pictures = np.random.default_rng(0).integers(0, 255, (60, 6, 6, 1)).astype(np.uint8)
        images = opened(self.saved(tmp_path, x=pictures, y=y, split=split))
        assert images.size("test") == 30
        for wrong, words in (
            (split[:7], r"split must name train, valid or test for each of 60 samples, got <U5 \(7,\)"),
            (split.astype(object), "split is an array of Python objects"),
            (np.array([b"train", b"te\xff"])[np.arange(60) % 2], r"must hold one of .*, got 'te.{1,2}xff'"),
            (np.repeat(["train", "held out"], 30), r"must hold one of .*, got 'held out' in row 31"),
        ):
            with pytest.raises(DataError, match=words):
                open_data(self.saved(tmp_path, x=x, y=y, split=wrong))

    def test_wrong_arrays(self, tmp_path: Path) -> None:
        x, y = np.zeros((30, 4)), np.zeros(30)
        with pytest.raises(DataError, match=r"must hold arrays x and y; it holds a, b"):
            open_data(self.saved(tmp_path, a=x, b=y))
        with pytest.raises(
            DataError, match=r"x must be numbers \(N, T\) or \(N, T, F\), got float64 \(30,\)"
        ):
            open_data(self.saved(tmp_path, x=y, y=y))
        with pytest.raises(DataError, match=r"y must be \(N,\) or \(N, M\) with N = 30 as in x, got \(7,\)"):
            open_data(self.saved(tmp_path, x=x, y=y[:7]))
        with pytest.raises(DataError, match=r"not a readable \.npz file of plain arrays"):
            open_data(self.saved(tmp_path, x=np.array([{}] * 30, dtype=object), y=y))
        (tmp_path / "b.npz").write_bytes(b"nonsense")
        with pytest.raises(DataError, match=r"b\.npz is not a readable \.npz file"):
            open_data(tmp_path / "b.npz")
