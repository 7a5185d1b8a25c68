"""Images with a class or with numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from hashlib import blake2b
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.nn.functional import pad

from anyformer.embed import DEFAULT, embedder_info
from anyformer.images.form import ImageForm
from anyformer.schema import Field, StreamFacts, Values
from anyformer.tasks.base import Reference, Split, check_integer
from anyformer.tasks.batch import Batch
from anyformer.tasks.image_references import references_for_images
from anyformer.tasks.imagesources import read_new
from anyformer.tasks.labelled import LabelledTask
from anyformer.tasks.labelled_encoding import LabelledEncoding
from anyformer.tasks.new_data import Unseen
from anyformer.tasks.splits import hashes, keys_of, split_alike, split_as_given

PIXELS = "pixels"
"""The field of an image's channels."""


class ImageEncoding(LabelledEncoding):
    """The encoding of new images, and of the answers about them.

    Attributes:
        form: size, channels and depth.
        mean, deviation: of each channel of the training images, in 255ths; inputs are standardised by them.
        column: of a table, which holds the paths; None for other data.
    """

    kind: Literal["images"] = "images"
    form: ImageForm
    mean: list[float]
    deviation: list[float]
    column: str | None = None

    def read(self, path: Path) -> Unseen:
        """Return the images in a folder, a table or a list of paths, an ``.npz`` file, or one image.

        Raises:
            DataError: none of them can be read.
        """
        new = read_new(path, self.form, self.column)
        inputs, count = _standardised(new.pixels, self.mean, self.deviation), len(new.pixels)
        targets, shift, scale = self.unknown_targets(count)
        return Unseen(Batch(inputs, targets, None, shift, scale), new.names, new.remarks, new.style)


class ImageTask(LabelledTask):
    """One class, or some numbers, for each image.

    Equal images, and those of one group, go into the same split and are one cluster; the split is stratified by class.
    Pixels are kept as uint8, and standardised when they are taken, by mean and deviation of each channel over the
    train split.

    Args:
        pixels: ``(N, H, W, C)`` uint8.
        y: ``(N,)`` integers below ``len(classes)``, or ``(N, M)`` floats when ``classes`` is None.
        name, seed: of the task.
        form: of the images.
        values: names of the columns to predict.
        classes: names of the classes.
        column: of a table, which holds the paths.
        groups: ``(N,)`` integers: images of the same group are not independent.
        split: ``(N,)`` names of the splits that the user put the images into, in place of the above.
        balanced: weigh the loss of each class by the inverse of its frequency in training.
        flip: show half of the training images mirrored, left to right.
        crop: shift each training image by up to so many pixels each way.
        facts, remarks: from the reader of the data.
    """

    noun: str = "image"
    direction: Literal["forward", "both"] = "both"
    candidates = ("convnext", "pyramid", "transformer embed=convolutions", "hydra")
    why = (
        "convolutions begin with what lies close together, the pyramid on ever coarser grids; behind a stem of "
        "convolutions attention sees all patches at once, and hydra is a state space that reads them both ways"
    )

    def __init__(
        self,
        pixels: np.ndarray,
        y: np.ndarray,
        *,
        name: str,
        form: ImageForm,
        values: Sequence[str],
        classes: Sequence[str] | None = None,
        column: str | None = None,
        groups: np.ndarray | None = None,
        split: np.ndarray | None = None,
        balanced: bool = False,
        flip: bool = False,
        crop: int = 0,
        seed: int = 0,
        facts: dict[str, Any] | None = None,
        remarks: Sequence[str] = (),
    ) -> None:
        check_integer("crop", crop, low=0, high=min(form.size))
        lost = self._begin(name, seed, len(pixels), classes, values, balanced, facts, remarks)
        self._pixels, self._mask, self.flip, self.crop = pixels, None, flip, crop
        labels = None if classes is None else y
        if split is None:
            self._index = split_alike([pixels], None, labels, seed, name, lost, groups=groups)
        else:
            self._index = split_as_given(split, [pixels], None, labels, seed, name, self._remarks)
        self._set_targets(y)
        if column is None and classes is not None:
            self.title = f"Tell which of {len(classes)} classes an image shows."
        self._note_equal_ones()
        self._alike = np.unique(
            np.array(keys_of([pixels], None, groups=groups), object), return_inverse=True
        )[1]
        self._form, self._column = form, column
        if column is not None:
            self.digest = blake2b(b"".join(hashes([pixels], None)), digest_size=16).hexdigest()
        self._mean, self._deviation = _moments(pixels[self._index["train"]])
        self.stream = image_facts(form)
        info = embedder_info(DEFAULT, self.stream)
        assert info.length is not None and info.grid is not None
        self.train_length = info.length
        self._remarks.append(
            f"a model reads an image as {' x '.join(map(str, info.grid))} patches, row by row, unless its spec says "
            "embed=patches(size=...)"
        )

    def _note_equal_ones(self) -> None:
        """Add remarks on images that are equal to others."""
        codes = np.unique(np.array(keys_of([self._pixels], None), object), return_inverse=True)[1]
        several = np.bincount(codes)[codes] > 1
        if not several.any():
            return
        told = f"{int(several.sum())} images are equal to others, and in one split with them"
        if self.classes is not None:
            pairs = pd.DataFrame({"image": codes, "class": self._y})[several]
            at_odds = pairs.groupby("image")["class"].transform("nunique") > 1
            told += f"; {int(at_odds.sum())} of them have different classes" if at_odds.any() else ""
        self._remarks.append(told)

    @property
    def encoding(self) -> ImageEncoding:
        """The encoding of new images."""
        return ImageEncoding(
            form=self._form,
            mean=self._mean,
            deviation=self._deviation,
            column=self._column,
            **self._told_by_targets(),
        )

    def _trained_on(self, split: Split, step: int, batch_size: int) -> Batch:
        """Return the batch of a training step, mirrored and shifted as the options say."""
        batch = super()._trained_on(split, step, batch_size)
        if not (self.flip or self.crop):
            return batch
        assert not isinstance(batch.inputs, Tensor)
        rng = np.random.default_rng([self.seed, 61, step])
        return replace(batch, inputs={PIXELS: moved(batch.inputs[PIXELS], rng, self.flip, self.crop)})

    def _inputs(self, rows: np.ndarray) -> Values:
        return _standardised(self._pixels[rows], self._mean, self._deviation)

    def _clusters(self, split: Split, length: int) -> np.ndarray:
        """Return one cluster for images that are equal or of one group."""
        return self._alike[self._index[split]]

    def references(self) -> list[Reference]:
        """The best constant, linear models of pixels and of gradients, and nearest neighbours."""
        return references_for_images(self)

    def describe(self) -> dict[str, Any]:
        """Return facts for the report."""
        height, width = self._form.size
        return {**super().describe(), "height": height, "width": width, "channels": self._form.channels}


def image_facts(form: ImageForm) -> StreamFacts:
    """The facts of a model's inputs for images of a form."""
    return StreamFacts(shape="grid", size=form.size, fields=[Field(name=PIXELS, width=form.channels)])


def moved(x: Tensor, rng: np.random.Generator, flip: bool, crop: int) -> Tensor:
    """Return images ``(B, H, W, C)``, half of them mirrored, shifted by up to ``crop`` pixels each way, zeros behind.

    That is to add ``crop`` pixels at all sides and to cut out a window at random (He et al. 2016, section 4.2).
    """
    B, H, W, _ = x.shape
    if flip:
        mirrored = torch.from_numpy(rng.random(B) < 0.5)
        x = torch.where(mirrored[:, None, None, None], x.flip(2), x)
    if crop:
        corners = torch.from_numpy(rng.integers(0, 2 * crop + 1, (B, 2)))
        rows, columns = (corners[:, axis, None] + torch.arange(n) for axis, n in enumerate((H, W)))
        x = pad(x, (0, 0, crop, crop, crop, crop))
        x = x[torch.arange(B)[:, None, None], rows[:, :, None], columns[:, None, :]]
    return x


def _moments(pixels: np.ndarray) -> tuple[list[float], list[float]]:
    """Return mean and deviation of each channel of pixels ``(N, H, W, C)`` uint8; 1 where all are equal."""
    values = np.arange(256)
    means, deviations = [], []
    for channel in range(pixels.shape[-1]):
        shares = np.bincount(pixels[..., channel].ravel(), minlength=256) / pixels[..., channel].size
        means.append(float(shares @ values))
        deviations.append(float(np.sqrt(shares @ np.square(values - means[-1]))) or 1.0)
    return means, deviations


def _standardised(pixels: np.ndarray, mean: Sequence[float], deviation: Sequence[float]) -> dict[str, Tensor]:
    """Return a model's inputs from pixels ``(B, H, W, C)`` uint8."""
    centre, scale = np.array(mean, np.float32), np.array(deviation, np.float32)
    return {PIXELS: torch.from_numpy((pixels - centre) / scale)}
