"""Predictors of images without a sequence model: linear models of pixels and of gradients, and nearest neighbours."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from anyformer.objectives import Regress
from anyformer.tasks.base import Reference
from anyformer.tasks.batch import Batch
from anyformer.tasks.nearest import Nearest
from anyformer.tasks.references import FittedReference, Majority, Median

if TYPE_CHECKING:
    from anyformer.tasks.base import Task

SIDE = 16
"""Longest side of the images whose pixels a linear model sees."""
COMPARED_SIDE = 32
"""Longest side of the images that are compared with each other."""
CELLS, ORIENTATIONS = 5, 9
"""Cells on a side in which gradients are counted, and directions that are told apart."""


def references_for_images(task: Task) -> list[Reference]:
    """Return the predictors on the leaderboard of images."""
    constant: Reference = Median() if isinstance(task.objective, Regress) else Majority()
    return [constant, PixelLinear(), NearestImages(), GradientLinear()]


class PixelLinear(FittedReference):
    """Ridge or logistic regression on the pixels of small copies of the images."""

    def __init__(self) -> None:
        super().__init__(
            "linear", f"a linear model on the pixels, at most {SIDE} a side, penalty by validation"
        )

    def features(self, batch: Batch) -> np.ndarray:
        """Return means of pixels ``(B, features)`` float64."""
        return _small(batch, SIDE).double().numpy()


class GradientLinear(FittedReference):
    """Ridge or logistic regression on histograms of oriented gradients (Dalal and Triggs 2005), and on mean colours."""

    def __init__(self) -> None:
        super().__init__(
            "gradients", "a linear model on histograms of gradients and mean colours, penalty by validation"
        )

    def features(self, batch: Batch) -> np.ndarray:
        """Return histograms and colours ``(B, features)`` float64."""
        x = _channels_first(batch)
        return np.concatenate([histograms(part).double().numpy() for part in x.split(256)])


class NearestImages(Nearest):
    """Nearest neighbours by pixels, by their Euclidean distance or by their correlation.

    The latter is the Euclidean distance of images that each have mean 0 and length 1: neither light nor contrast count.
    """

    counts = (1, 3, 5, 10, 20)
    metrics = ("euclidean", "correlation")

    def __init__(self) -> None:
        super().__init__(
            "nearest neighbour",
            f"the nearest training images by pixels, at most {COMPARED_SIDE} a side, number and metric by validation",
        )

    def features(self, batch: Batch) -> Tensor:
        """Return pixels ``(B, features)``, as the metric compares them."""
        x = _small(batch, COMPARED_SIDE)
        if self.metric == "euclidean":
            return x
        return functional.normalize(x - x.mean(1, keepdim=True), dim=1)


def histograms(x: Tensor) -> Tensor:
    """Return histograms of oriented gradients and mean colours of images ``(B, C, H, W)``: ``(B, features)``.

    In each of at most ``CELLS`` x ``CELLS`` cells the gradients, those of the channel where they are largest, are
    counted by direction, opposite ones alike, weighted by their size. Each 2 x 2 cells are divided by their norm.
    """
    height, width = (max(1, min(n // 2, CELLS)) for n in x.shape[2:])
    wide = functional.pad(x, (1, 1, 1, 1), mode="replicate")
    across, down = wide[:, :, 1:-1, 2:] - wide[:, :, 1:-1, :-2], wide[:, :, 2:, 1:-1] - wide[:, :, :-2, 1:-1]
    sizes = (across.square() + down.square()).sqrt()
    size, channel = sizes.max(1, keepdim=True)
    angle = torch.atan2(down.gather(1, channel), across.gather(1, channel)).remainder(math.pi)
    place = angle * (ORIENTATIONS / math.pi)
    low = place.floor()
    counts = x.new_zeros(len(x), ORIENTATIONS, *x.shape[2:])
    for step, share in ((0, 1 - (place - low)), (1, place - low)):  # between the two nearest directions
        counts.scatter_add_(1, (low.long() + step) % ORIENTATIONS, size * share)
    cells = functional.adaptive_avg_pool2d(counts, (height, width))
    rows, columns = min(2, height), min(2, width)
    blocks = cells.unfold(2, rows, 1).unfold(3, columns, 1).permute(0, 2, 3, 1, 4, 5).flatten(3)
    blocks = blocks / (blocks.square().sum(-1, keepdim=True) + 1e-4).sqrt()
    colours = functional.adaptive_avg_pool2d(x, (height, width))
    return torch.cat([blocks.flatten(1), colours.flatten(1)], 1)


def _channels_first(batch: Batch) -> Tensor:
    assert not isinstance(batch.inputs, Tensor)
    (x,) = batch.inputs.values()
    return x.movedim(-1, 1)


def _small(batch: Batch, side: int) -> Tensor:
    """Return the pixels ``(B, features)`` of copies that are at most ``side`` high and wide, by means."""
    x = _channels_first(batch)
    height, width = (min(n, side) for n in x.shape[2:])
    return functional.adaptive_avg_pool2d(x, (height, width)).flatten(1)
