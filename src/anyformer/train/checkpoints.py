"""The cadence of checkpoints, the same for ``anyformer train`` and ``anyformer compare``."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

CHECKPOINT = "checkpoint.pt"
"""The file, in the folder of the run."""
SECONDS = 5.0
"""The least time between checkpoints."""
SHARE = 0.02
"""The largest share of the time that is spent on checkpoints."""


class CheckpointTimer:
    """Timer that says when a checkpoint is due: slow ones are written less often."""

    def __init__(self) -> None:
        self._saved, self._every = time.monotonic(), SECONDS

    @property
    def due(self) -> bool:
        """True if it is time for a checkpoint."""
        return time.monotonic() - self._saved >= self._every

    @contextmanager
    def saving(self) -> Iterator[None]:
        """Time the writing of a checkpoint."""
        begin = time.monotonic()
        yield
        self._saved = time.monotonic()
        self._every = max(SECONDS, (self._saved - begin) / SHARE)
