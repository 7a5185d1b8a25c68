"""Files in a unit's folder: outcome, progress, incidents and owners. A damaged file counts as missing."""

from __future__ import annotations

import hashlib
import json
import os
import socket
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from anyformer.compare.results import Status
from anyformer.compare.run.unit import FOUND, Outcome, Phase
from anyformer.files import read_json, spoiled_files, write_atomically

RESULT, PROGRESS, INCIDENTS, OWNERS = "result.json", "progress.json", "troubles.json", "owners"
LEFT = "left"
_STATUS: TypeAdapter[Status] = TypeAdapter(Status)


def write_outcome(folder: Path, outcome: Outcome) -> None:
    """Write the outcome with a hash, by which damage is detected."""
    data = {} if outcome.found is None else json.loads(outcome.found.model_dump_json())
    body = {"status": outcome.status, "reason": outcome.reason, "data": data}
    write_atomically(folder / RESULT, json.dumps({**body, "digest": _digest(body)}))


def read_outcome(folder: Path, phase: Phase) -> Outcome | None:
    """Read the outcome of a unit; None if it has not ended, or the file is damaged."""
    held = read_json(folder / RESULT)
    if not isinstance(held, dict) or held.pop("digest", None) != _digest(held):
        return None
    try:
        found = FOUND[phase].model_validate(held["data"]) if held["status"] == "ok" else None
        return Outcome(_STATUS.validate_python(held["status"]), held["reason"], found)
    except (KeyError, ValidationError):
        return None


def spoiled_file(folder: Path, outcome: Outcome) -> Path | None:
    """Return the first file of an outcome that is missing or changed, or None."""
    return next(iter(spoiled_files(folder, getattr(outcome.found, "files", {}))), None)


def _digest(body: dict[str, Any]) -> str:
    return hashlib.blake2b(json.dumps(body).encode(), digest_size=16).hexdigest()


class Progress(BaseModel):
    """Progress of a unit.

    Attributes:
        step: steps done.
        steps: step at which it ends.
        begun: step at which it began.
        loss: last training loss.
        valid: last validation score.
        beats: signs of life so far.
        pid: process that runs it.
    """

    model_config = ConfigDict(ser_json_inf_nan="constants")

    step: int = Field(0, ge=0)
    steps: int = Field(1, ge=1)
    begun: int = Field(0, ge=0)
    loss: float | None = None
    valid: float | None = None
    beats: int = 0
    pid: int = 0

    @property
    def share(self) -> float:
        """Share of the unit that is done, 0 to 1."""
        return min(1.0, max(0.0, (self.step - self.begun) / max(1, self.steps - self.begun)))


def write_progress(folder: Path, progress: Progress) -> None:
    """Write the progress of a unit, without waiting for the disk."""
    write_atomically(folder / PROGRESS, progress.model_dump_json(), durable=False)


def read_progress(folder: Path) -> Progress:
    """Read the progress of the unit in a folder; no progress if there is no file or it is damaged."""
    try:
        return Progress.model_validate(read_json(folder / PROGRESS) or {})
    except ValidationError:
        return Progress()


class Incident(BaseModel):
    """One interruption of a unit by a killed or hung worker or a lack of memory: its step and its reason."""

    kind: Literal["killed", "hung", "memory"]
    step: int = 0
    what: str = ""


_INCIDENTS = TypeAdapter(list[Incident])


def read_incidents(folder: Path) -> list[Incident]:
    """Read all incidents of a unit, oldest first."""
    try:
        return _INCIDENTS.validate_python(read_json(folder / INCIDENTS) or [])
    except ValidationError:
        return []


def add_incident(folder: Path, incident: Incident) -> list[Incident]:
    """Append an incident; returns all of them."""
    incidents = [*read_incidents(folder), incident]
    write_atomically(folder / INCIDENTS, _INCIDENTS.dump_json(incidents).decode())
    return incidents


def without_progress(incidents: list[Incident]) -> list[Incident]:
    """Return the incidents from the one with the most steps on: since then there was no further progress."""
    best = max(
        (number for number, _ in enumerate(incidents)), key=lambda n: (incidents[n].step, -n), default=0
    )
    return incidents[best:]


def must_be_alone(incidents: list[Incident]) -> bool:
    """Return True if a unit may have been short of memory: it was killed twice, or got a memory error."""
    return any(t.kind == "memory" for t in incidents) or sum(t.kind == "killed" for t in incidents) > 1


def note_owner(folder: Path) -> None:
    """Record that this process takes the unit."""
    _append(folder, f"{socket.gethostname()}:{os.getpid()}")


def note_left(folder: Path) -> None:
    """Record that the unit was given back in good order."""
    _append(folder, LEFT)


def _append(folder: Path, line: str) -> None:
    with open(folder / OWNERS, "a", encoding="utf-8") as owners:
        owners.write(f"{line}\n")


def abandoned(folder: Path) -> int:
    """Count how often the unit was taken and not given back, because its process was killed."""
    try:
        lines = (folder / OWNERS).read_text(encoding="utf-8", errors="replace").split()
    except FileNotFoundError:
        return 0
    return len(lines) - 2 * lines.count(LEFT)
