"""What a unit leaves in its folder: how it ended, how far it is, what befell it. What is damaged counts as missing."""

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
    """Leave the outcome with its hash, so that nothing else can pass for it."""
    data = {} if outcome.found is None else json.loads(outcome.found.model_dump_json())
    body = {"status": outcome.status, "reason": outcome.reason, "data": data}
    write_atomically(folder / RESULT, json.dumps({**body, "digest": _digest(body)}))


def read_outcome(folder: Path, phase: Phase) -> Outcome | None:
    """What a unit left in its folder when it ended; None when it has not, or when that is damaged."""
    held = read_json(folder / RESULT)
    if not isinstance(held, dict) or held.pop("digest", None) != _digest(held):
        return None
    try:
        found = FOUND[phase].model_validate(held["data"]) if held["status"] == "ok" else None
        return Outcome(_STATUS.validate_python(held["status"]), held["reason"], found)
    except (KeyError, ValidationError):
        return None


def spoiled_file(folder: Path, outcome: Outcome) -> Path | None:
    """The first file that the outcome counts on and that is gone or different."""
    return next(iter(spoiled_files(folder, getattr(outcome.found, "files", {}))), None)


def _digest(body: dict[str, Any]) -> str:
    return hashlib.blake2b(json.dumps(body).encode(), digest_size=16).hexdigest()


class Progress(BaseModel):
    """How far a unit is: the step behind which it began, that which it is at, and all; and signs of life so far."""

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
        """How much of the unit is done."""
        return min(1.0, max(0.0, (self.step - self.begun) / max(1, self.steps - self.begun)))


def write_progress(folder: Path, progress: Progress) -> None:
    """Leave word of how far the unit is; it need not survive a loss of power."""
    write_atomically(folder / PROGRESS, progress.model_dump_json(), durable=False)


def read_progress(folder: Path) -> Progress:
    """How far the unit in this folder says that it is; nothing done where it says nothing."""
    try:
        return Progress.model_validate(read_json(folder / PROGRESS) or {})
    except ValidationError:
        return Progress()


class Incident(BaseModel):
    """One time that a unit did not come through: at which step, and why."""

    kind: Literal["killed", "hung", "memory"]
    step: int = 0
    what: str = ""


_INCIDENTS = TypeAdapter(list[Incident])


def read_incidents(folder: Path) -> list[Incident]:
    """All incidents of a unit, the oldest first."""
    try:
        return _INCIDENTS.validate_python(read_json(folder / INCIDENTS) or [])
    except ValidationError:
        return []


def add_incident(folder: Path, incident: Incident) -> list[Incident]:
    """Note an incident, and returns all of them."""
    incidents = [*read_incidents(folder), incident]
    write_atomically(folder / INCIDENTS, _INCIDENTS.dump_json(incidents).decode())
    return incidents


def without_progress(incidents: list[Incident]) -> list[Incident]:
    """The last incidents, from the one that came farthest on."""
    best = max(
        (number for number, _ in enumerate(incidents)), key=lambda n: (incidents[n].step, -n), default=0
    )
    return incidents[best:]


def must_be_alone(incidents: list[Incident]) -> bool:
    """Whether the unit may have been short of memory: killed twice for no reason, or told so."""
    return any(t.kind == "memory" for t in incidents) or sum(t.kind == "killed" for t in incidents) > 1


def note_owner(folder: Path) -> None:
    """Notes that this process takes the unit."""
    _append(folder, f"{socket.gethostname()}:{os.getpid()}")


def note_left(folder: Path) -> None:
    """Notes that the unit was given back in good order."""
    _append(folder, LEFT)


def _append(folder: Path, line: str) -> None:
    with open(folder / OWNERS, "a", encoding="utf-8") as owners:
        owners.write(f"{line}\n")


def abandoned(folder: Path) -> int:
    """How often the unit was taken and not given back: its process, or everything, was killed."""
    try:
        lines = (folder / OWNERS).read_text(encoding="utf-8", errors="replace").split()
    except FileNotFoundError:
        return 0
    return len(lines) - 2 * lines.count(LEFT)
