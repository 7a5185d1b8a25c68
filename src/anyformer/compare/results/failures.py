"""Failures of candidates as a status and one line."""

from __future__ import annotations

from anyformer.compare.results.measurements import Status
from anyformer.machine import is_memory_error


def explain(error: BaseException) -> tuple[Status, str]:
    """Return the status of a failure, and its reason in one line of at most 300 characters."""
    text = " ".join(str(error).split())
    text = text if len(text) <= 300 else text[:297] + "..."
    if is_memory_error(error):
        return "out_of_memory", text or "no memory was left"
    return "failed", f"{type(error).__name__}: {text}" if text else type(error).__name__
