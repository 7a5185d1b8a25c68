"""The end of a comparison: its files, and the mark by which a finished one is known and left alone."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from pydantic import ValidationError

from anyformer.compare.results import Results
from anyformer.files import file_digests, read_json, spoiled_files, write_atomically

RESULTS, REPORT, WINNER, SEAL = "results.json", "report.html", "winner", "finished.json"


def write_seal(folder: Path) -> None:
    """Write the hashes of all that the comparison came to, last of all: by them a finished one is known."""
    seal = file_digests(folder, folder / REPORT, folder / RESULTS, folder / WINNER)
    write_atomically(folder / SEAL, json.dumps(seal, indent=1))


def read_finished(folder: Path) -> tuple[Results | None, list[Path]]:
    """The results, where the comparison in this folder is finished and all its files are as they were.

    Where it is finished and some are not, these files; they can be made again from the units.
    """
    seal = read_json(folder / SEAL)
    if not isinstance(seal, dict) or RESULTS not in seal:
        return None, []
    damaged = spoiled_files(folder, seal)
    if damaged:
        return None, damaged
    try:
        return Results.load(folder / RESULTS), []
    except ValidationError:  # of another version
        return None, [folder / RESULTS]


def remove_finished(folder: Path) -> None:
    """Removes what a comparison came to, before it comes to something else."""
    for name in (SEAL, RESULTS, REPORT):
        (folder / name).unlink(missing_ok=True)
    shutil.rmtree(folder / WINNER, ignore_errors=True)
