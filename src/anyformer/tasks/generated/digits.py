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
    The position of a pixel is so informative that a linear model of the pixels is hard to beat; on a larger canvas,
    where a digit may be anywhere, it fails (with ``patch=2`` 0.96 of the images right at 8 pixels a side, 0.36 at 12).

    Args:
        patch: pixels on a side of a patch: 1, 2 or 4.
        canvas: pixels on a side of the image, a multiple of ``patch``: the digit is at a random place of it.
        shuffle: permute the patches of each image at random, which leaves only their multiset as information.
        seed: of the split, of the order of training, of the places and of ``shuffle``.
    """

    def __init__(self, *, patch: int = 2, canvas: int = 8, shuffle: bool = False, seed: int = 0) -> None:
        from sklearn.datasets import load_digits

        check_integer("patch", patch, low=1, high=4)
        if 8 % patch:
            raise ValueError(f"patch must be 1, 2 or 4, got {patch}")
        check_integer("canvas", canvas, low=8)
        if canvas % patch:
            raise ValueError(f"canvas must be a multiple of patch, {patch}, got {canvas}")
        data: Any = load_digits()
        side = canvas // patch
        x = _placed(np.asarray(data.images, np.float64), canvas, seed)
        x = x.reshape(-1, side, patch, side, patch)
        x = x.transpose(0, 1, 3, 2, 4).reshape(len(x), side * side, patch * patch)
        if shuffle:
            order = np.random.default_rng(seed).random(x.shape[:2]).argsort(1)
            x = np.take_along_axis(x, order[..., None], 1)
        super().__init__(
            x, np.asarray(data.target), name="digits", classes=[str(i) for i in range(10)], seed=seed
        )


def _placed(images: np.ndarray, canvas: int, seed: int) -> np.ndarray:
    """Return images (N, 8, 8), each at a random place of a blank canvas: (N, canvas, canvas)."""
    placed = np.zeros((len(images), canvas, canvas))
    corners = np.random.default_rng(seed).integers(0, canvas - 7, (len(images), 2))
    for image, (row, column), blank in zip(images, corners, placed):
        blank[row : row + 8, column : column + 8] = image
    return placed
