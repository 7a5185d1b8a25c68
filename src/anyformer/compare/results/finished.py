"""The files of a finished comparison, and the seal (hashes of them) by which it is recognised."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from pydantic import ValidationError

from anyformer.compare.results import Results
from anyformer.files import file_digests, read_json, spoiled_files, write_atomically

RESULTS, REPORT, WINNER, SEAL = "results.json", "report.html", "winner", "finished.json"


def write_seal(folder: Path) -> None:
    """Write the hashes of all result files, as the last step of a comparison."""
    seal = file_digests(folder, folder / REPORT, folder / RESULTS, folder / WINNER)
    write_atomically(folder / SEAL, json.dumps(seal, indent=1))


def read_finished(folder: Path) -> tuple[Results | None, list[Path]]:
    """Read the results of a finished comparison.

    Returns:
        The results, or None if it is not finished or a file is missing or damaged; and those files, which can be made
        again from the units.
    """
    seal = read_json(folder / SEAL)
    if not isinstance(seal, dict) or RESULTS not in seal:
        return None, []
    damaged = spoiled_files(folder, seal)
    if damaged:
        return None, damaged
    try:
        return Results.load(folder / RESULTS), []
    except ValidationError:  # a file of another version
        return None, [folder / RESULTS]


def remove_finished(folder: Path) -> None:
    """Delete the results of a comparison, before it makes others."""
    for name in (SEAL, RESULTS, REPORT):
        (folder / name).unlink(missing_ok=True)
    shutil.rmtree(folder / WINNER, ignore_errors=True)
