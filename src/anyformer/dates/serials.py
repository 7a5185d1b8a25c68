"""Serial numbers that count time from an epoch: Excel's days, and Unix time."""

from __future__ import annotations

import numpy as np
import pandas as pd

#: Microseconds in one unit.
SERIALS = {"unix_s": 1e6, "unix_ms": 1e3, "unix_us": 1.0, "unix_ns": 1e-3, "excel": 86_400e6}
_EXCEL, _EPOCH = np.datetime64("1899-12-30", "us"), np.datetime64("1970-01-01", "us")
_PLAUSIBLE = {
    kind: (94_694_400e6 / size, 4_102_444_800e6 / size) for kind, size in SERIALS.items()
}  # 1973 to 2100
_PLAUSIBLE["excel"] = (10_000.0, 80_000.0)  # 1927 to 2119


def read_serials(column: pd.Series, tried: list[str]) -> tuple[str, np.ndarray] | None:
    """Return the first of the kinds ``tried`` that makes a column's dates plausible, and the dates (datetime64[us])."""
    try:
        values = pd.to_numeric(column).to_numpy(dtype=np.float64, na_value=np.nan)
    except (ValueError, TypeError):
        return None
    if pd.api.types.is_bool_dtype(column) or not np.isfinite(values).any():
        return None
    present = values[np.isfinite(values)]
    for kind in tried:
        size, (low, high) = SERIALS[kind], _PLAUSIBLE[kind]
        if not (low <= present.min() and present.max() < high):
            continue
        origin = _EXCEL if kind == "excel" else _EPOCH
        whole = np.floor(values)
        micro = np.where(np.isfinite(values), np.rint(whole * size) + np.rint((values - whole) * size), 0)
        dates = origin + micro.astype("timedelta64[us]")
        if kind == "excel":  # whose times are fractions of a day: exact to the millisecond
            dates = (dates + np.timedelta64(500, "us")).astype("datetime64[ms]").astype("datetime64[us]")
        dates[~np.isfinite(values)] = np.datetime64("NaT")
        return kind, dates
    return None


def write_serial(date: np.datetime64, kind: str) -> str:
    """Return a date as a serial number."""
    ticks = (date - (_EXCEL if kind == "excel" else _EPOCH)).astype(np.int64) / SERIALS[kind]
    return str(int(ticks)) if ticks == int(ticks) else repr(float(ticks))
