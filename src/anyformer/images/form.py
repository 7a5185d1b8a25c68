"""One form for all images of a data set: size, channels and depth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict

from anyformer.errors import DataError
from anyformer.images.decoding import (
    Fit,
    Header,
    ImageSource,
    Picture,
    Size,
    Unreadable,
    highest_value,
    read_header,
    read_picture,
)
from anyformer.spelling import option

LARGEST_SIDE = 64
"""The longer side of images where no size is given, if they are larger."""
FEW = 20
"""Up to one in so many images may be unreadable; they are left out."""


class ImageForm(BaseModel):
    """The form of all images of a data set.

    Attributes:
        size: height and width.
        channels: 1 for grey, 3 for RGB.
        fit: how images of other proportions are fitted, see :func:`anyformer.images.decoding.read_picture`.
        bits: depth of values of more than 8 bits.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    size: Size
    channels: Literal[1, 3]
    fit: Fit = "crop"
    bits: int = 16

    @property
    def sides(self) -> str:
        """The size in words."""
        return f"{self.size[0]} x {self.size[1]}"


@dataclass(frozen=True)
class Loaded:
    """Images in one form.

    Attributes:
        form: theirs.
        pixels: ``(N, H, W, C)`` uint8.
        places: which of the files they are, ``(N,)`` int64 ascending.
        unreadable: reasons by place, of the others.
        remarks: decisions that were made.
    """

    form: ImageForm
    pixels: np.ndarray
    places: np.ndarray
    unreadable: dict[int, str]
    remarks: list[str]


def read_size(given: int | str | None) -> int | Size | None:
    """Return the option ``size``: the longer side, or height and width.

    Raises:
        ValueError: it is neither.
    """
    if given is None:
        return None
    parts = str(given).lower().split("x")
    if isinstance(given, bool) or len(parts) > 2 or not all(part.strip().isdecimal() for part in parts):
        sides: list[int] = []
    else:
        sides = [int(part) for part in parts]
    if not sides or not all(1 <= side <= 1024 for side in sides):
        raise ValueError(
            f"{option('size')} must be the longer side of the images in pixels, or height and width as 48x64, up to "
            f"1024, got {given!r}"
        )
    return sides[0] if len(sides) == 1 else (sides[0], sides[1])


def load_fitting(
    paths: Sequence[ImageSource], names: Sequence[str], where: str, *, size: int | Size | None, fit: Fit
) -> Loaded:
    """Load images, and find the form that they get.

    Args:
        paths: the files, or their bytes.
        names: their names in messages.
        where: the folder or table that they are of, in messages.
        size: the longer side, or height and width; see :func:`fitted_size` for the default.
        fit: how images of other proportions are fitted.

    Raises:
        DataError: more than a few of them cannot be read.
    """
    headers, unreadable = _headers(paths)
    _check_few(unreadable, names, where)
    sizes = [header.size for header in headers.values()]
    wanted = size if isinstance(size, tuple) else fitted_size(sizes, size)
    bits, remarks = 16, list[str]()
    if deep := [place for place, header in headers.items() if header.deep]:
        bits = _depth([paths[place] for place in deep])
        which = f"{len(deep)} of {len(headers)} images"
        remarks.append(f"{which}: more than 8 bits; the upper 8 of values up to {2**bits - 1} are kept")
    pictures = _pictures(paths, list(headers), wanted, fit, bits, unreadable)
    _check_few(unreadable, names, where)
    channels: Literal[1, 3] = 1 if all(p.pixels.ndim == 2 for p in pictures.values()) else 3
    form = ImageForm(size=wanted, channels=channels, fit=fit, bits=bits)
    headers = {place: headers[place] for place in pictures}
    told = [*_about_sizes(headers, form, given=size is not None), *remarks, *_about(pictures)]
    if unreadable:
        told.append(f"left out: {reasons(unreadable, names)}")
    return _loaded(form, pictures, unreadable, told)


def load_again(paths: Sequence[ImageSource], form: ImageForm) -> Loaded:
    """Load images in a form that is known; those that cannot be read are left out, and no remark is made of it."""
    headers, unreadable = _headers(paths)
    pictures = _pictures(paths, list(headers), form.size, form.fit, form.bits, unreadable)
    remarks = _about(pictures)
    coloured = sum(picture.pixels.ndim == 3 for picture in pictures.values())
    if form.channels == 1 and coloured:
        remarks.append(f"{coloured} of {len(pictures)} images: colours, which the model reads as grey")
    return _loaded(form, pictures, unreadable, remarks)


def fitted_size(sizes: Sequence[Size], longer: int | None = None) -> Size:
    """Return one size for images: the median height and width, scaled to a longer side if that is given.

    Where it is not, they are only scaled down, to a longer side of ``LARGEST_SIDE``.
    """
    height, width = (sorted(side)[len(side) // 2] for side in zip(*sizes))
    largest = longer or min(LARGEST_SIDE, max(height, width))
    scale = largest / max(height, width)
    return max(1, round(height * scale)), max(1, round(width * scale))


def reasons(unreadable: Mapping[int, str], names: Sequence[str], most: int = 3) -> str:
    """Return which files cannot be read, and why, the first ``most`` by name."""
    told = [f"{names[place]}, which {reason}" for place, reason in sorted(unreadable.items())]
    more = len(told) - most
    return "; ".join(told[:most]) + (f"; and {more} more files" if more > 0 else "")


def grey_of(pixels: np.ndarray) -> np.ndarray:
    """Return the luma of RGB pixels ``(..., 3)`` uint8 by ITU-R 601-2, as Pillow computes it: ``(..., 1)`` uint8."""
    r, g, b = (pixels[..., channel : channel + 1].astype(np.uint32) for channel in range(3))
    return ((r * 19595 + g * 38470 + b * 7471 + 0x8000) >> 16).astype(np.uint8)


def _headers(paths: Sequence[ImageSource]) -> tuple[dict[int, Header], dict[int, str]]:
    headers, unreadable = dict[int, Header](), dict[int, str]()
    for place, path in enumerate(paths):
        try:
            headers[place] = read_header(path)
        except Unreadable as error:
            unreadable[place] = str(error)
    return headers, unreadable


def _depth(paths: Sequence[ImageSource]) -> int:
    """Return the depth in bits of the highest value in images; those that cannot be read are met again later."""
    highest = 0
    for path in paths:
        try:
            highest = max(highest, highest_value(path))
        except Unreadable:
            continue
    return max(8, highest.bit_length())


def _pictures(
    paths: Sequence[ImageSource],
    places: Sequence[int],
    size: Size,
    fit: Fit,
    bits: int,
    unreadable: dict[int, str],
) -> dict[int, Picture]:
    found = dict[int, Picture]()
    for place in places:
        try:
            found[place] = read_picture(paths[place], size, fit, bits)
        except Unreadable as error:
            unreadable[place] = str(error)
    return found


def _loaded(
    form: ImageForm, pictures: dict[int, Picture], unreadable: dict[int, str], remarks: list[str]
) -> Loaded:
    pixels = np.zeros((len(pictures), *form.size, form.channels), np.uint8)
    for row, picture in zip(pixels, pictures.values()):
        values = picture.pixels if picture.pixels.ndim == 3 else picture.pixels[..., None]
        row[:] = grey_of(values) if values.shape[-1] > form.channels else values
    return Loaded(form, pixels, np.array(list(pictures), np.int64), unreadable, remarks)


def _check_few(unreadable: Mapping[int, str], names: Sequence[str], where: str) -> None:
    if len(unreadable) * FEW > len(names):
        count = "an image" if len(unreadable) == 1 else f"{len(unreadable)} images"
        raise DataError(
            f"{where}: {count} of {len(names)} cannot be read, which is more than one in {FEW}: "
            f"{reasons(unreadable, names, 2)}"
        )


def _about_sizes(headers: Mapping[int, Header], form: ImageForm, *, given: bool) -> list[str]:
    """Return remarks on the size, and on images that were scaled or cut."""
    sizes, (height, width) = [header.size for header in headers.values()], form.size
    colours = "grey" if form.channels == 1 else "RGB"
    told = [f"{len(sizes)} images, {colours}, {form.sides} pixels (height x width)"]
    if set(sizes) == {form.size}:
        return told
    low, high = (f"{h} x {w}" for h, w in (min(sizes, key=np.prod), max(sizes, key=np.prod)))
    rule = "as asked" if given else f"the median, its longer side at most {LARGEST_SIDE}"
    told = [f"{told[0]}: {rule}" + (f"; files have {low}" + (f" to {high}" if low != high else ""))]
    smaller = sum(h < height or w < width for h, w in sizes)
    if smaller:
        told.append(f"{smaller} of {len(sizes)} images: smaller than {form.sides}, and enlarged")
    lost = [1 - min(h * width, w * height) / max(h * width, w * height) for h, w in sizes]
    other = [share for share in lost if share > 0.5 / max(form.size)]
    if other:
        done = f"the middle is taken, up to {max(other):.0%} of a side is cut off ({option('fit', 'pad')} keeps all)"
        bars = "between black bars"
        told.append(
            f"{len(other)} of {len(sizes)} images: other proportions; {done if form.fit == 'crop' else bars}"
        )
    return told


def _about(pictures: Mapping[int, Picture]) -> list[str]:
    """Return remarks on frames, transparency and depth."""
    told: dict[str, list[bool]] = {
        "several frames, of which the first is taken": [p.frames for p in pictures.values()],
        "transparent pixels, which are laid on white": [p.transparent for p in pictures.values()],
        "colours of 16 bits, of which the upper 8 are kept": [p.deep for p in pictures.values()],
    }
    return [f"{sum(which)} of {len(which)} images: {text}" for text, which in told.items() if any(which)]
