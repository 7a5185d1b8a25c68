"""Which files of a folder are images."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from anyformer.images.decoding import SUFFIXES

SYSTEM = frozenset(
    {"thumbs.db", "desktop.ini", "ehthumbs.db", "icon\r", "__macosx", "@eadir", "$recycle.bin"}
)
"""Files and folders that systems leave behind, in lower case."""


def is_image(path: Path) -> bool:
    """True if a file is an image by its name."""
    return path.suffix.lower() in SUFFIXES


def visible(path: Path, folder: Path) -> bool:
    """True unless the file, or a folder below ``folder`` that it is in, is hidden or left behind by a system."""
    return not any(part.startswith(".") or part.lower() in SYSTEM for part in path.relative_to(folder).parts)


def files_below(folder: Path) -> list[Path]:
    """Return all files below a folder, hidden ones too, sorted by their parts."""
    return sorted(path for path in folder.rglob("*") if path.is_file())


def images_below(folder: Path, remarks: list[str]) -> list[Path]:
    """Return the images below a folder, sorted; other files are left out with a remark."""
    files = files_below(folder)
    shown = [path for path in files if visible(path, folder)]
    if len(shown) < len(files):
        hidden = [path for path in files if not visible(path, folder)]
        remarks.append(f"left out: {_listed(hidden, folder)}, hidden or left behind by a system")
    if others := [path for path in shown if not is_image(path)]:
        remarks.append(f"left out: {_listed(others, folder)}, no images by their names")
    return [path for path in shown if is_image(path)]


def mostly_images(folder: Path, most: int = 2000) -> bool:
    """True if at least half of the visible files below a folder are images by their names, of the first ``most``."""
    images = others = 0
    for path in folder.rglob("*"):
        if visible(path, folder) and path.is_file():
            images, others = images + is_image(path), others + (not is_image(path))
        if images + others >= most:
            break
    return images > 0 and images >= others


def _listed(paths: Iterable[Path], folder: Path, most: int = 3) -> str:
    names = [path.relative_to(folder).as_posix() for path in paths]
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more} more files" if more > 0 else "")
