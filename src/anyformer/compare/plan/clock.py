"""The time spent on a comparison, over all interruptions, kept in ``clock.json``."""

from __future__ import annotations

import json
import math
import time
from pathlib import Path

from anyformer.files import read_json, write_atomically


class Clock:
    """Time spent on a comparison, over all interruptions.

    Args:
        folder: the comparison's folder.
        start: when this process began to work on it, in seconds of :func:`time.monotonic`; by default now.

    Attributes:
        before: seconds spent by earlier processes; 0 if their record is damaged.
        damaged: True if that record is damaged.
    """

    def __init__(self, folder: Path, start: float | None = None) -> None:
        self.path = folder / "clock.json"
        held = read_json(self.path)
        known = type(held) in (int, float) and math.isfinite(held) and 0 <= held < 1e10
        self.before = float(held) if known else 0.0
        self.damaged = self.path.exists() and not known
        self.start = time.monotonic() if start is None else start
        self._written = self.start

    @property
    def seconds(self) -> float:
        """Seconds spent so far."""
        return self.before + time.monotonic() - self.start

    def settle(self, seconds: float) -> None:
        """Set the time spent, at the end of a comparison or when a part of it begins anew."""
        self.before, self.start = seconds, time.monotonic()
        self.damaged = False
        write_atomically(self.path, json.dumps(seconds))

    def tick(self, *, force: bool = False) -> None:
        """Write the time spent to the file, at most every two seconds unless ``force`` is true."""
        if force or time.monotonic() - self._written > 2.0:
            self._written = time.monotonic()
            write_atomically(self.path, json.dumps(self.seconds))
