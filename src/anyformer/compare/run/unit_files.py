"""What a unit leaves in its folder: how it ended, how far it is, what befell it. What is damaged counts as missing."""

from __future__ import annotations

import hashlib
import json
import os
import socket
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from anyformer.files import read_json, spoiled_files, write_atomically

RESULT, PROGRESS, TROUBLES, OWNERS = "result.json", "progress.json", "troubles.json", "owners"
LEFT = "left"


class Outcome(BaseModel):
    """How a unit ended. ``status`` is "ok" or one of the failures of a candidate."""

    model_config = ConfigDict(extra="forbid")

    status: str
    reason: str = ""
    data: dict[str, Any] = Field(default_factory=dict)


def write_outcome(folder: Path, outcome: Outcome) -> None:
    """Leaves the outcome with its hash, so that nothing else can pass for it."""
    body = json.loads(json.dumps(outcome.model_dump()))
    write_atomically(folder / RESULT, json.dumps({**body, "digest": _digest(body)}))


def read_outcome(folder: Path) -> Outcome | None:
    """What a unit left in its folder when it ended; None when it has not, or when that is damaged."""
    held = read_json(folder / RESULT)
    if not isinstance(held, dict) or held.pop("digest", None) != _digest(held):
        return None
    return Outcome.model_validate(held)


def spoiled_file(folder: Path, outcome: Outcome) -> Path | None:
    """The first file that the outcome counts on (``data["files"]``, by hash) and that is gone or different."""
    return next(iter(spoiled_files(folder, outcome.data.get("files", {}))), None)


def _digest(body: dict[str, Any]) -> str:
    return hashlib.blake2b(json.dumps(body).encode(), digest_size=16).hexdigest()


class Progress(BaseModel):
    """How far a unit is; what else it tells is kept as it is."""

    model_config = ConfigDict(extra="allow")

    step: int = Field(0, ge=0)
    steps: int = Field(1, ge=1)
    begun: int = Field(0, ge=0)
    loss: float | None = None
    beats: int = 0

    @property
    def share(self) -> float:
        """How much of the unit is done."""
        return min(1.0, max(0.0, (self.step - self.begun) / max(1, self.steps - self.begun)))


def read_progress(folder: Path) -> Progress:
    """How far the unit in this folder says that it is; nothing done where it says nothing."""
    try:
        return Progress.model_validate(read_json(folder / PROGRESS) or {})
    except ValidationError:
        return Progress()


class Trouble(BaseModel):
    """One time that a unit did not come through: at which step, and why."""

    kind: Literal["killed", "hung", "memory"]
    step: int = 0
    what: str = ""


_TROUBLES = TypeAdapter(list[Trouble])


def read_troubles(folder: Path) -> list[Trouble]:
    """All troubles of a unit, the oldest first."""
    try:
        return _TROUBLES.validate_python(read_json(folder / TROUBLES) or [])
    except ValidationError:
        return []


def add_trouble(folder: Path, trouble: Trouble) -> list[Trouble]:
    """Notes a trouble, and returns all of them."""
    troubles = [*read_troubles(folder), trouble]
    write_atomically(folder / TROUBLES, _TROUBLES.dump_json(troubles).decode())
    return troubles


def without_progress(troubles: list[Trouble]) -> list[Trouble]:
    """The last troubles, from the one that came farthest on."""
    best = max((number for number, _ in enumerate(troubles)), key=lambda n: (troubles[n].step, -n), default=0)
    return troubles[best:]


def must_be_alone(troubles: list[Trouble]) -> bool:
    """Whether the unit may have been short of memory: killed twice for no reason, or told so."""
    return any(t.kind == "memory" for t in troubles) or sum(t.kind == "killed" for t in troubles) > 1


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
