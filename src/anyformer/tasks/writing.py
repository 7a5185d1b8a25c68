"""Tables written in the format of the file that they answer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from anyformer.tasks.delimited import DelimitedStyle

_DIGITS = 7
"""Significant digits of a number: those of float32, in which models compute."""


def write_table(frame: pd.DataFrame, path: Path, style: DelimitedStyle) -> None:
    """Write a table with the separator, quotes, decimal mark, ends of lines and encoding of ``style``."""
    lines = [[_text(str(name), style) for name in frame.columns]]
    columns = [[_field(value, style) for value in frame.iloc[:, i].tolist()] for i in range(frame.shape[1])]
    lines.extend(map(list, zip(*columns)))
    text = "".join(style.separator.join(fields) + style.end for fields in lines)
    path.write_bytes(text.encode(style.encoding))


def _field(value: Any, style: DelimitedStyle) -> str:
    """Return a value as the file writes it."""
    if value is None or value is pd.NaT or value is pd.NA or value != value:
        return "NA" if style.separator == " " else ""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return _text(str(value), style)
    text = _number(value).replace(".", style.decimal)
    return _quoted(text) if style.quotes == "all" or style.separator in text else text


def _number(value: float) -> str:
    """Return a number with its significant digits, without an exponent if that is not too long."""
    if isinstance(value, int) or value == 0 or not 1e-6 <= abs(value) < 1e15:
        return f"{value:.{_DIGITS}g}" if isinstance(value, float) else str(value)
    return np.format_float_positional(value, precision=_DIGITS, unique=False, fractional=False, trim="-")


def _text(text: str, style: DelimitedStyle) -> str:
    needs = (
        not text or text != text.strip() or text[:1] == "#" or set(text) & {style.separator, '"', "\n", "\r"}
    )
    return _quoted(text) if needs or style.quotes != "needed" else text


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'
