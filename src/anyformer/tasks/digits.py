"""Small images of handwritten digits, which come with scikit-learn."""

from __future__ import annotations

from typing import Any

import numpy as np

from anyformer.tasks import register_task
from anyformer.tasks.base import check_integer
from anyformer.tasks.labelled import LabelledTask


@register_task("digits")
class Digits(LabelledTask):
    """Which digit is it? 1797 images of 8 x 8 pixels (UCI, Alpaydin 1998), as a row of square patches.

    With ``patch=2`` an image is 16 tokens of 4 pixels, row by row from the top left, as a Vision Transformer takes it.

    Args:
        patch: pixels on a side of a patch: 1, 2 or 4.
        shuffle: put the patches of each image in an order of its own, which leaves only the bag of them to go by.
        seed: of the split, of the order of training and of ``shuffle``.
    """

    def __init__(self, *, patch: int = 2, shuffle: bool = False, seed: int = 0) -> None:
        from sklearn.datasets import load_digits

        check_integer("patch", patch, low=1, high=4)
        if 8 % patch:
            raise ValueError(f"patch must be 1, 2 or 4, got {patch}")
        data: Any = load_digits()
        side = 8 // patch
        x = np.asarray(data.images, np.float64).reshape(-1, side, patch, side, patch)
        x = x.transpose(0, 1, 3, 2, 4).reshape(len(x), side * side, patch * patch)
        if shuffle:
            order = np.random.default_rng(seed).random(x.shape[:2]).argsort(1)
            x = np.take_along_axis(x, order[..., None], 1)
        super().__init__(
            x, np.asarray(data.target), name="digits", classes=[str(i) for i in range(10)], seed=seed
        )
