"""Images of digits as patches."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.datasets import load_digits

from anyformer.tasks import create_task


def test_patches_hold_the_images_pixels() -> None:
    task, images = create_task("digits", patch=2), load_digits().images
    assert task.train_batch(0, 3).x.shape == (3, 16, 4)
    for token in (5, 10):
        row, column = 2 * (token // 4), 2 * (token % 4)
        pixels = images[:, row : row + 2, column : column + 2].reshape(-1, 4)
        for feature in range(4):  # standardised, that is moved and scaled
            assert np.corrcoef(task._x[:, token, feature], pixels[:, feature])[0, 1] > 1 - 1e-6  # type: ignore[attr-defined]


def test_shuffling_keeps_the_bag_of_patches() -> None:
    plain, mixed = (create_task("digits", shuffle=shuffle)._x for shuffle in (False, True))  # type: ignore[attr-defined]
    assert not np.allclose(plain, mixed)
    assert np.corrcoef(plain.sum((1, 2)), mixed.sum((1, 2)))[0, 1] > 0.99


def test_a_canvas_holds_the_digit_somewhere() -> None:
    task, images = create_task("digits", patch=1, canvas=12), load_digits().images
    x = task._x.reshape(-1, 12, 12)  # type: ignore[attr-defined]
    ink = x - x.min()  # standardised, with one mean: what is blank is the least
    for seen, image in zip(ink[:20], images[:20]):
        rows, columns = (np.flatnonzero(seen.sum(axis)) for axis in (1, 0))
        wanted = image[np.ix_(np.flatnonzero(image.sum(1)), np.flatnonzero(image.sum(0)))]
        found = seen[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        assert found.shape == wanted.shape
        assert np.corrcoef(found.ravel(), wanted.ravel())[0, 1] > 1 - 1e-6
    where = {(np.flatnonzero(i.sum(1))[0], np.flatnonzero(i.sum(0))[0]) for i in ink}
    assert len(where) > 20


def test_errors() -> None:
    with pytest.raises(ValueError, match="canvas must be a multiple of patch, 4, got 10"):
        create_task("digits", patch=4, canvas=10)
    with pytest.raises(ValueError, match="patch must be 1, 2 or 4, got 3"):
        create_task("digits", patch=3)
