"""The end of a comparison: its files, and the mark by which a finished one is known and left alone."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from pydantic import ValidationError

from anyformer.compare.report.page import write_report
from anyformer.compare.results import Results
from anyformer.compare.run.unit_files import read_json
from anyformer.machine import file_digest, write_atomically

RESULTS, REPORT, WINNER, SEAL = "results.json", "report.html", "winner", "finished.json"


def write_ending(results: Results, folder: Path) -> None:
    """Writes the report and the results, and then, last, the hashes of all that the comparison comes to."""
    (folder / SEAL).unlink(missing_ok=True)
    write_report(results, folder / REPORT)
    results.save(folder / RESULTS)
    files = [
        folder / REPORT,
        folder / RESULTS,
        *sorted(p for p in (folder / WINNER).rglob("*") if p.is_file()),
    ]
    seal = {path.relative_to(folder).as_posix(): file_digest(path) for path in files}
    write_atomically(folder / SEAL, json.dumps(seal, indent=1))


def read_ending(folder: Path) -> tuple[Results | None, list[Path]]:
    """The results, where the comparison in this folder is finished and all its files are as they were.

    Where it is finished and some are not, these files; they can be made again from the units.
    """
    seal = read_json(folder / SEAL)
    if not isinstance(seal, dict) or RESULTS not in seal:
        return None, []
    damaged = [
        folder / name
        for name, digest in seal.items()
        if not (folder / name).is_file() or file_digest(folder / name) != digest
    ]
    if damaged:
        return None, damaged
    try:
        return Results.load(folder / RESULTS), []
    except ValidationError:  # of another version
        return None, [folder / RESULTS]


def remove_ending(folder: Path) -> None:
    """Removes what a comparison came to, before it comes to something else."""
    for name in (SEAL, RESULTS, REPORT):
        (folder / name).unlink(missing_ok=True)
    shutil.rmtree(folder / WINNER, ignore_errors=True)
