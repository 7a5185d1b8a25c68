"""Limits on the candidates that can win: the time of an answer, and the bytes of the model or of its state."""

from __future__ import annotations

import math
import re
from typing import Literal, NamedTuple

from anyformer.spelling import option

Of = Literal["token", "sample", "model", "state"]
SECONDS = {"us": 1e-3, "ms": 1.0, "s": 1e3}
"""Milliseconds in each unit."""
BYTES = {
    "B": 1.0,
    **{f"{letter}B": 1000.0**power for power, letter in enumerate("kMG", 1)},
    **{f"{letter}iB": 1024.0**power for power, letter in enumerate("KMG", 1)},
    "KB": 1000.0,
}


class Limit(NamedTuple):
    """A limit: milliseconds of a token or of a sample, or bytes of the saved model or of the state while streaming.

    Attributes:
        amount: in milliseconds or bytes.
        of: what it is of; None for what the task asks, a token or a sample.
    """

    amount: float
    of: Of | None


def read_latency(text: str | float) -> Limit:
    """Read ``"5ms"``, ``"5ms/token"``, ``"0.2s/sample"``, or a number of milliseconds.

    Raises:
        ValueError: it is none of these.
    """
    expected = 'a time ("5ms", "5ms/token", "20ms/sample")'
    return Limit(*_read("max_latency", text, "ms", SECONDS, ("token", "sample"), expected))


def read_bytes(text: str | float) -> Limit:
    """Read ``"2MB"``, ``"2MB/model"``, ``"64KiB/state"``, or a number of bytes of the saved model.

    Raises:
        ValueError: it is none of these.
    """
    amount, of = _read("max_bytes", text, "B", BYTES, ("model", "state"), 'a size ("2MB", "64KiB/state")')
    return Limit(amount, of or "model")


def _read(
    name: str,
    text: str | float,
    unit: str,
    units: dict[str, float],
    parts: tuple[Of, ...],
    expected: str,
) -> tuple[float, Of | None]:
    pattern = rf"\s*(\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)\s*({'|'.join(units)})?\s*(?:/\s*({'|'.join(parts)}))?\s*"
    found = None if isinstance(text, bool) else re.fullmatch(pattern, str(text))
    amount = math.nan if found is None else float(found[1]) * units[found[2] or unit]
    if found is None or not amount > 0:
        raise ValueError(f"{option(name)} must be {expected}, got {str(text)!r}")
    of = next((part for part in parts if part == found[3]), None)
    return amount, of
