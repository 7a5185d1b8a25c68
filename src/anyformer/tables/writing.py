"""Tables of predictions, written in the format of the file that they answer."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from anyformer.errors import DataError
from anyformer.tables.delimited import DelimitedStyle
from anyformer.tables.formats import REFUSED
from anyformer.tables.packed import is_packed, suffix_of

_DIGITS = 7
"""Significant digits of a number: those of float32, in which models compute."""


def write_table(frame: pd.DataFrame, path: Path, style: DelimitedStyle) -> None:
    """Write a table as the ending of a file's name says.

    That is Parquet, JSON lines, or text with the separator, quotes, decimal mark, ends of lines and encoding of
    ``style``; a ``.tsv`` is separated by tabs. Text is packed where the name ends in ``.gz``.

    Raises:
        DataError: the ending is that of a format that is not written.
    """
    suffix = suffix_of(path)
    if suffix in REFUSED or suffix == ".npz":
        raise DataError(f"{path}: {suffix} files are not written; name it .csv, .jsonl or .parquet")
    if suffix in (".parquet", ".pq"):
        frame.to_parquet(path, index=False)
        return
    if suffix in (".jsonl", ".ndjson"):
        records = frame.astype(object).where(frame.notna(), None).to_dict("records")
        data = "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records).encode()
    else:
        style = replace(style, separator="\t") if suffix == ".tsv" else style
        data = _delimited(frame, style).encode(style.encoding)
    path.write_bytes(gzip.compress(data) if is_packed(path) else data)


def significant(values: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Numbers (float64) without the digits that a model, which reckons in float32, says nothing about.

    Seven are kept, and more where a number is large beside ``scale``, in units of which the model speaks: of 10000012.3
    with a scale of 1 all are.
    """
    values, scale = np.broadcast_arrays(np.asarray(values, np.float64), scale)
    with np.errstate(divide="ignore", invalid="ignore"):
        more = np.floor(np.log10(np.abs(values))) - np.floor(np.log10(scale))
    digits = np.clip(np.nan_to_num(more, posinf=0, neginf=0) + _DIGITS - 1, _DIGITS, 17).astype(int)
    rounded = [float(f"{value:.{count - 1}e}") for value, count in zip(values.flat, digits.flat)]
    return np.array(rounded).reshape(values.shape)


def _delimited(frame: pd.DataFrame, style: DelimitedStyle) -> str:
    lines = [[_text(str(name), style) for name in frame.columns]]
    columns = [[_field(value, style) for value in frame.iloc[:, i].tolist()] for i in range(frame.shape[1])]
    lines.extend(map(list, zip(*columns)))
    return "".join(style.separator.join(fields) + style.end for fields in lines)


def _field(value: Any, style: DelimitedStyle) -> str:
    """Return a value as the file writes it."""
    if value is None or value is pd.NaT or value is pd.NA or value != value:
        return "NA" if style.separator == " " else ""
    if isinstance(value, list):
        return _text(json.dumps(value, ensure_ascii=False), style)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return _text(str(value), style)
    text = _number(value).replace(".", style.decimal)
    return _quoted(text) if style.quotes == "all" or style.separator in text else text


def _number(value: float) -> str:
    """A number in the fewest digits that tell it, as people write it where that is not too long."""
    if isinstance(value, int) or (1e-6 <= abs(value) < 1e17) or value == 0:
        return str(value) if isinstance(value, int) else np.format_float_positional(value, trim="-")
    return np.format_float_scientific(value, trim="-")


def _text(text: str, style: DelimitedStyle) -> str:
    needs = (
        not text or text != text.strip() or text[:1] == "#" or set(text) & {style.separator, '"', "\n", "\r"}
    )
    return _quoted(text) if needs or style.quotes != "needed" else text


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'
