"""A PyTorch ``Dataset`` of pairs (x, y), as the arrays of an ``.npz`` file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.utils.data import Dataset, IterableDataset

from anyformer.errors import DataError

_CHANNELS = (1, 3)


def arrays_of_dataset(dataset: Dataset[Any], *, targets: bool = True) -> dict[str, np.ndarray]:
    """Return the items of a map-style data set as arrays for :func:`anyformer.tasks.arrays.open_arrays`.

    x of an item is ``(T,)`` whole numbers, taken for tokens; ``(T,)`` or ``(T, F)`` numbers, a sequence; or an image:
    ``(C, H, W)`` or ``(H, W, C)`` of one or three channels, uint8 or floats from 0 to 1, or one of Pillow. Sequences
    may differ in length. y is a class, a text or a number, or several numbers.

    Args:
        dataset: has a length and items by number.
        targets: items are pairs (x, y); otherwise they may be x alone, and y is left out.

    Returns:
        ``x`` ``(N, T)``, ``(N, T, F)`` or ``(N, H, W, C)`` uint8; ``y`` ``(N,)`` or ``(N, M)``; ``lengths`` ``(N,)``
        where they differ; ``axes``, of sequences of features; ``remarks``.

    Raises:
        DataError: an item cannot be read; one sentence names it, and its shape.
    """
    if isinstance(dataset, IterableDataset):
        raise DataError(
            "data: an IterableDataset has no items by number, of which splits could be made: give a map-style Dataset, "
            "with __len__ and __getitem__"
        )
    if not hasattr(dataset, "__len__"):
        raise DataError(
            f"data: the Dataset {type(dataset).__name__} has no __len__, so that it cannot be split"
        )
    if not len(dataset):
        raise DataError("data: the Dataset is empty")
    xs, ys = list[np.ndarray](), list[Any]()
    for number in range(len(dataset)):
        x, y = _pair(dataset[number], number, targets)
        xs.append(_image_of(x) if isinstance(x, Image.Image) else _array(x, "x", number))
        ys.append(y)
    found = _images(xs) if xs[0].ndim == 3 else _sequences(xs)
    if targets:
        found["y"] = _targets(ys)
    found["remarks"] = np.array(
        [
            f"each of the {len(xs)} items of the Dataset is read once and kept: what it draws at random does not change"
        ]
    )
    return found


def _pair(item: Any, number: int, targets: bool) -> tuple[Any, Any]:
    if isinstance(item, tuple | list) and len(item) == 2:
        return item[0], item[1]
    if targets:
        got = (
            f"{type(item).__name__} of {len(item)}"
            if isinstance(item, tuple | list | dict)
            else type(item).__name__
        )
        raise DataError(f"data: item {number} of the Dataset must be a pair (x, y), got a {got}")
    return (item[0] if isinstance(item, tuple) and len(item) == 1 else item), None


def _image_of(image: Image.Image) -> np.ndarray:
    """Return the pixels ``(H, W, C)`` of one of Pillow."""
    pixels = np.asarray(image if image.mode in ("L", "RGB") else image.convert("RGB"))
    return pixels if pixels.ndim == 3 else pixels[..., None]


def _array(value: Any, name: str, number: int) -> np.ndarray:
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu()
        value = value.float() if value.dtype == torch.bfloat16 else value
    try:
        array = np.asarray(value)
    except ValueError:  # lists of different lengths
        array = np.empty(0, object)
    if array.dtype.kind not in "iufb":
        raise DataError(
            f"data: {name} of item {number} must hold numbers, got {type(value).__name__} of {array.dtype}"
        )
    return array


def _sequences(xs: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
    first = xs[0]
    if first.ndim not in (1, 2):
        raise DataError(
            "data: x of item 0 must be (T,) tokens or numbers, (T, F) numbers or an image (C, H, W), got the shape "
            f"{first.shape}"
        )
    for number, x in enumerate(xs):
        if x.ndim != first.ndim or x.shape[1:] != first.shape[1:] or not x.size:
            form = "(T,)" if first.ndim == 1 else f"(T, {first.shape[1]})"
            raise DataError(
                f"data: x of item {number} must be {form} as that of item 0, got the shape {x.shape}"
            )
    kinds = {x.dtype.kind for x in xs}
    dtype: Any = np.int64 if kinds <= {"i", "u", "b"} else np.float64
    lengths = np.array([len(x) for x in xs])
    padded = np.zeros((len(xs), lengths.max(), *first.shape[1:]), dtype)
    for row, x in zip(padded, xs):
        row[: len(x)] = x
    found = {"x": padded}
    if first.ndim == 2:
        found["axes"] = np.array("NTF")
    return found if (lengths == lengths[0]).all() else {**found, "lengths": lengths}


def _images(xs: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
    first = xs[0]
    if first.shape[0] not in _CHANNELS and first.shape[2] not in _CHANNELS:
        raise DataError(
            f"data: x of item 0 must be an image (C, H, W) or (H, W, C) of 1 or 3 channels, got the shape {first.shape}"
        )
    pixels = []
    for number, x in enumerate(xs):
        if x.shape != first.shape or not x.size:
            raise DataError(
                f"data: x of item {number} must be an image of the shape {first.shape} as that of item 0, got "
                f"{x.shape}"
            )
        if x.dtype.kind == "f":
            if not (x.min() >= 0 and x.max() <= 1):
                raise DataError(
                    f"data: x of item {number} must hold uint8 or floats from 0 to 1, got {x.min():.3g} to "
                    f"{x.max():.3g}: leave out a normalisation, as pixels are standardised here"
                )
            x = np.rint(x * 255)
        elif x.dtype != np.uint8:
            raise DataError(f"data: x of item {number} must hold uint8 or floats from 0 to 1, got {x.dtype}")
        pixels.append((x.transpose(1, 2, 0) if first.shape[0] in _CHANNELS else x).astype(np.uint8))
    return {"x": np.stack(pixels)}


def _targets(ys: Sequence[Any]) -> np.ndarray:
    if all(isinstance(y, str) for y in ys):
        return np.array(ys)
    found = list[np.ndarray]()
    for number, y in enumerate(ys):
        value = _array(y, "y", number)
        value = value[0] if value.shape == (1,) else value
        if value.ndim > 1 or value.shape != (found[0].shape if found else value.shape):
            as_first = f" as that of item 0, {found[0].shape}," if found else ""
            raise DataError(
                f"data: y of item {number} must be one class or number, or several numbers,{as_first} got the shape "
                f"{value.shape}"
            )
        found.append(value)
    stacked = np.stack(found)
    return stacked.astype(np.float64) if stacked.dtype.kind == "f" else stacked
