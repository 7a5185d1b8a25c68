"""Curves of a training for any logger: a function of a step and of values by name."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Mapping
from pathlib import Path

Log = Callable[[int, Mapping[str, float]], object]
"""Takes the step, from 1, and values by name, such as ``{"train/loss": 0.7, "valid/accuracy": 0.9}``."""
SUFFIXES = (".jsonl", ".csv")


def log_file(path: Path) -> Log:
    """Return a log that appends to a file: objects in lines of JSON, or rows of ``step,name,value`` in CSV.

    Raises:
        ValueError: the name ends in neither ``.jsonl`` nor ``.csv``, or the file cannot be written.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise ValueError(f"log must name a file that ends in {' or '.join(SUFFIXES)}, got {str(path)!r}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        empty = not path.exists() or not path.stat().st_size
        if path.suffix.lower() == ".csv" and empty:
            path.write_text("step,name,value\n", encoding="utf-8")
        else:
            path.open("a").close()
    except OSError as error:
        raise ValueError(f"log: {str(path)!r} cannot be written ({error.strerror})") from None

    def log(step: int, values: Mapping[str, float]) -> None:
        with path.open("a", encoding="utf-8", newline="") as file:
            if path.suffix.lower() == ".csv":
                csv.writer(file, lineterminator="\n").writerows([step, *pair] for pair in values.items())
            else:
                file.write(json.dumps({"step": step, **values}) + "\n")

    return log
