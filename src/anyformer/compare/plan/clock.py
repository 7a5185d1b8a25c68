"""The time that a comparison has taken out of its budget, over all its interruptions: ``clock.json``."""

from __future__ import annotations

import json
import math
import time
from pathlib import Path

from anyformer.files import read_json, write_atomically


class Clock:
    """Time spent on a comparison, over all its interruptions; this stretch began at ``start`` (monotonic).

    Attributes:
        before: seconds of earlier stretches; none where their record is damaged, which ``damaged`` says.
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
        return self.before + time.monotonic() - self.start

    def settle(self, seconds: float) -> None:
        """Sets the time spent, at the end of a comparison or where a part of it begins anew."""
        self.before, self.start = seconds, time.monotonic()
        self.damaged = False
        write_atomically(self.path, json.dumps(seconds))

    def tick(self, *, force: bool = False) -> None:
        """Writes the time down, every now and then."""
        if force or time.monotonic() - self._written > 2.0:
            self._written = time.monotonic()
            write_atomically(self.path, json.dumps(self.seconds))
