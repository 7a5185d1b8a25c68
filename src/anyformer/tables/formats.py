"""Formats that are not read, and how to convert them to one that is."""

from __future__ import annotations

import re
from pathlib import Path

_PANDAS = "convert it with pandas.{}('FILE').to_csv('data.csv', index=False)"
_ARRAYS = "save the sequences as .npz, with x (N, T, F) and y (N,): numpy.savez('data.npz', x=x, y=y)"
_REMEDIES = {
    (".json",): "save it as .jsonl, one object a line",
    (".npy",): "save x and y together: numpy.savez('data.npz', x=x, y=y)",
    (".xlsx", ".xls", ".xlsm", ".xlsb", ".ods"): f"save the sheet as .csv, or {_PANDAS.format('read_excel')}",
    (".zip", ".gz", ".tar", ".tgz", ".zst", ".bz2", ".xz", ".7z", ".rar"): "unpack it first",
    (".dta",): _PANDAS.format("read_stata"),
    (".sav", ".zsav", ".por"): _PANDAS.format("read_spss"),
    (".sas7bdat", ".xpt"): _PANDAS.format("read_sas"),
    (".feather", ".arrow"): _PANDAS.format("read_feather"),
    (".orc",): _PANDAS.format("read_orc"),
    (
        ".rds",
        ".rda",
        ".rdata",
    ): "convert it in R with write.csv(readRDS('FILE'), 'data.csv', row.names = FALSE)",
    (
        ".db",
        ".sqlite",
        ".sqlite3",
    ): "convert a table with pandas.read_sql('select ...', sqlite3.connect('FILE')).to_csv('data.csv')",
    (
        ".arff",
    ): "convert it with pandas.DataFrame(scipy.io.arff.loadarff('FILE')[0]).to_csv('data.csv', index=False)",
    (".mat",): f"read it with scipy.io.loadmat and {_ARRAYS}",
    (".h5", ".hdf5", ".hdf", ".nc"): "save a table as .csv or .parquet, and arrays x and y as .npz",
    (
        ".pkl",
        ".pickle",
        ".pt",
        ".pth",
        ".joblib",
    ): "save a table as .csv or .parquet, and arrays x and y as .npz",
    (".avro",): "save the table as .csv or .parquet",
    (".pdf", ".doc", ".docx", ".odt", ".rtf"): "save its text as .txt, or its table as .csv",
    (".wav", ".mp3", ".flac", ".ogg", ".mp4", ".avi"): f"sounds and films are not supported yet; {_ARRAYS}",
    (".png", ".jpg", ".jpeg", ".gif", ".webp", ".bmp", ".tif", ".tiff"): (
        "images are read from a folder with a subfolder for each class, or from a table with a column of their paths"
    ),
}
REFUSED = {suffix: remedy for suffixes, remedy in _REMEDIES.items() for suffix in suffixes}
"""How to convert files of formats that are not read, by suffix."""

_MAGIC = {
    b"PAR1": "a Parquet file",
    b"PK\x03\x04": "a zip archive or a workbook of a spreadsheet",
    b"\x1f\x8b": "a file packed by gzip",
    b"BZh": "a file packed by bzip2",
    b"\xfd7zXZ\0": "a file packed by xz",
    b"\x28\xb5\x2f\xfd": "a file packed by zstd",
    b"\xd0\xcf\x11\xe0": "an old workbook or document of an office program",
    b"ARROW1": "a Feather file",
    b"\x89HDF": "an HDF5 file",
    b"SQLite format 3": "a database of SQLite",
    b"$FL2": "a file of SPSS",
    b"<stata_dta>": "a file of Stata",
    b"\x93NUMPY": "an array of NumPy",
    b"%PDF-": "a PDF",
    b"\x89PNG": "an image",
    b"\xff\xd8\xff": "an image",
}


def refused(path: Path) -> str:
    """Return how to convert a file of a format that is not read."""
    return REFUSED[path.suffix.lower()].replace("FILE", path.name)


def binary_kind(data: bytes) -> str | None:
    """Return the binary format of a file by its first bytes; None if they show none."""
    return next((what for start, what in _MAGIC.items() if data.startswith(start)), None)


def text_format(path: Path, text: str) -> tuple[str, str] | None:
    """Return a text format of tables or series, found by its declarations, and how to convert it; None for others."""
    top = text[:100_000]
    if not re.search(r"^\s*@data\s*$", top, re.M | re.I):
        return None
    if re.search(r"^\s*@attribute\s", top, re.M | re.I):
        return "a table in the format of Weka (.arff)", REFUSED[".arff"].replace("FILE", path.name)
    return "time series in the format of the UCR archive (.ts)", _ARRAYS
