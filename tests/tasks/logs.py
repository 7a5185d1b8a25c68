"""Logs of events made by known rules."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd


def chains(
    users: int = 100, items: int = 20, length: int = 16, *, order: int = 1, seed: int = 0
) -> pd.DataFrame:
    """Return events whose item follows the one before by a fixed permutation, or the two before, after noise.

    The first ``order + 1`` items of a user are random; times rise with gaps of about a day.
    """
    draw = np.random.default_rng(seed)
    after = draw.permutation(items)
    rows = []
    for user in range(users):
        told = [int(item) for item in draw.integers(0, items, order + 1)]
        while len(told) < length:
            told.append(int(after[told[-1]] if order == 1 else (3 * told[-1] + 5 * told[-2] + 1) % items))
        days = draw.uniform(0, 60) + np.cumsum(draw.exponential(1, length))
        times = pd.Timestamp("2024-01-01") + pd.to_timedelta(np.round(days * 86400), unit="s")
        rows += [(f"u{user}", f"i{item}", str(time)) for item, time in zip(told, times)]
    return pd.DataFrame(rows, columns=["user", "item", "time"])


def saved(folder: Path, frame: pd.DataFrame, name: str = "log.csv") -> Path:
    """Write the events into a file, and return it."""
    frame.to_csv(folder / name, index=False)
    return folder / name
