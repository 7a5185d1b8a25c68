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


def test_errors() -> None:
    with pytest.raises(ValueError, match="patch must be 1, 2 or 4, got 3"):
        create_task("digits", patch=3)
