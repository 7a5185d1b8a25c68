"""Files of text that may be packed by gzip, read as what is inside them."""

from __future__ import annotations

import gzip
import zlib
from io import BufferedReader
from pathlib import Path

from anyformer.errors import DataError

_TEXTS = (".csv", ".tsv", ".jsonl", ".ndjson", ".txt", ".conll", ".conllu", ".iob", ".bio")


def suffix_of(path: Path) -> str:
    """The ending of a file's name in lower case, of what is inside for ``data.csv.gz`` and other packed texts."""
    suffixes = [suffix.lower() for suffix in path.suffixes[-2:]]
    return suffixes[0] if suffixes[1:] == [".gz"] and suffixes[0] in _TEXTS else path.suffix.lower()


def is_packed(path: Path) -> bool:
    """True if a file is, by its name, a text packed by gzip."""
    return path.suffix.lower() == ".gz" and suffix_of(path) != ".gz"


def opened(path: Path) -> gzip.GzipFile | BufferedReader:
    """The file, open to be read, unpacked where it is packed."""
    return gzip.open(path) if is_packed(path) else path.open("rb")


def content(path: Path) -> bytes:
    """The bytes of a file, unpacked where it is packed; ``DataError`` where it cannot be."""
    if not is_packed(path):
        return path.read_bytes()
    try:
        with gzip.open(path) as packed:
            return packed.read()
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(f"{path} cannot be unpacked by gzip: {str(error).strip('.')}") from None
