"""One image file as pixels.

An image is turned upright by its EXIF tag; of several frames the first is taken; transparent pixels are laid on white;
palettes, CMYK and other colours become RGB; 16 bits become 8.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

Fit = Literal["crop", "pad"]
Size = tuple[int, int]
"""Height and width."""
ImageSource = Path | bytes
"""The file of an image, or what is in one."""

FORMATS = ("PNG", "JPEG", "MPO", "GIF", "WEBP", "BMP", "DIB", "TIFF", "PPM", "JPEG2000")
_ENDINGS = "png|jpg|jpeg|jpe|jfif|gif|webp|bmp|dib|tif|tiff|ppm|pgm|pbm|pnm|jp2"
SUFFIXES = frozenset(f".{name}" for name in _ENDINGS.split("|"))
"""Endings of the names of images, in lower case."""


class Unreadable(Exception):
    """An image cannot be read; the message goes on behind the name of the file."""


@dataclass(frozen=True)
class Header:
    """Facts of an image before its pixels are decoded.

    Attributes:
        size: height and width, upright.
        deep: it has one channel of more than 8 bits.
    """

    size: Size
    deep: bool


@dataclass(frozen=True)
class Picture:
    """The pixels of an image in the form asked for.

    Attributes:
        pixels: ``(H, W)`` uint8 if it is grey, else ``(H, W, 3)``.
        frames: it has further frames.
        transparent: some pixels were transparent.
        deep: it had colours of more than 8 bits, of which the upper 8 were taken.
    """

    pixels: np.ndarray
    frames: bool
    transparent: bool
    deep: bool


def read_header(path: ImageSource) -> Header:
    """Read the size of an image; raise :class:`Unreadable`."""
    with _opened(path) as image:
        width, height = image.size
        exif = Image.Image.getexif(image)  # a PNG's own method would decode all pixels
        turned = exif.get(0x0112, 1) in (5, 6, 7, 8)  # the tag of the orientation
        return Header((width, height) if turned else (height, width), image.mode.startswith("I"))


def highest_value(path: ImageSource) -> int:
    """Return the highest value of an image of one deep channel; raise :class:`Unreadable`."""
    with _opened(path) as image:
        return int(_deep_values(image).max(initial=0))


def read_picture(path: ImageSource, size: Size, fit: Fit, bits: int = 16) -> Picture:
    """Read an image in the size that is asked for.

    Args:
        path: the file, or its bytes.
        size: height and width.
        fit: ``"crop"``: scaled until it covers the size, the middle is taken; ``"pad"``: scaled until it fits inside,
            black around it.
        bits: depth of values of more than 8 bits, of which the upper 8 are taken.

    Raises:
        Unreadable: it is no image, or damaged, or of a kind that is not read.
    """
    with _opened(path) as image:
        frames = image.format != "MPO" and bool(getattr(image, "is_animated", False))
        deep = any(
            ";16" in str(tile.args) for tile in getattr(image, "tile", ())
        ) and not image.mode.startswith("I")
        image.draft(None, (2 * max(size), 2 * max(size)))  # of a JPEG, decodes no more detail than is needed
        upright = ImageOps.exif_transpose(image)
        eight, transparent = _eight_bits(upright, bits)
        height, width = size
        fitted = ImageOps.fit if fit == "crop" else ImageOps.pad
        pixels = np.asarray(fitted(eight, (width, height), Image.Resampling.BILINEAR))
    if pixels.ndim == 3 and (pixels == pixels[..., :1]).all():
        pixels = pixels[..., 0]
    return Picture(pixels, frames, transparent, deep)


def _eight_bits(image: Image.Image, bits: int) -> tuple[Image.Image, bool]:
    """Return the image in the mode L or RGB, and whether some pixels were transparent."""
    if image.mode.startswith("I"):
        values = np.minimum(_deep_values(image) >> (bits - 8), 255)
        return Image.fromarray(values.astype(np.uint8)), False
    if image.mode == "F":
        raise Unreadable("holds fractions of 32 bits, whose range is not known; save it with 8 or 16 bits")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        if image.getchannel("A").getextrema()[0] != 255:
            white = Image.new("RGBA", image.size, (255, 255, 255, 255))
            return Image.alpha_composite(white, image).convert("RGB"), True
    return image.convert("L" if image.mode in ("1", "L") else "RGB"), False


def _deep_values(image: Image.Image) -> np.ndarray:
    values = np.asarray(image).astype(np.int64)
    if values.size and not 0 <= values.min() <= values.max() < 2**16:
        raise Unreadable(f"holds values from {values.min()} to {values.max()}, which are more than 16 bits")
    return values


@contextmanager
def _opened(path: ImageSource) -> Iterator[Image.Image]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore"
            )  # about odd metadata and large images, which are read all the same
            with Image.open(BytesIO(path) if isinstance(path, bytes) else path, formats=_formats()) as image:
                yield image
    except (Unreadable, MemoryError):
        raise
    except Exception as error:  # Pillow raises errors of many types for damaged files
        raise Unreadable(_reason(path, error)) from None


@cache
def _formats() -> tuple[str, ...]:
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


def _reason(path: ImageSource, error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return "is not there"
    if isinstance(error, PermissionError | IsADirectoryError):
        return f"cannot be read: {os.strerror(error.errno or 0)}"
    if isinstance(error, UnidentifiedImageError):
        size = len(path) if isinstance(path, bytes) else path.stat().st_size
        return "is no image that can be read" if size else "is empty"
    if "truncated" in str(error).lower():
        return "is cut off before its end"
    return f"is damaged, or of a kind that is not read ({' '.join(str(error).split())[:100] or type(error).__name__})"
