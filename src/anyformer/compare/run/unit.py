"""Units of work, their findings (one type for each phase), and their outcomes."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from anyformer.compare.plan.schema import Calibration
from anyformer.compare.results import ByLength, Costs, Point, Record, Sample, SearchRun, SeedRun, Status
from anyformer.train.schedule import Knots

Phase = Literal["reference", "calibrate", "search", "train", "score", "measure", "refit"]
QUIET: tuple[Phase, ...] = ("measure",)
"""Phases whose units run one at a time."""


class Unit(BaseModel):
    """One piece of work, identified by all its fields.

    Attributes:
        task: name of the task.
        phase: kind of work.
        candidate: name of the candidate or of the reference.
        steps: step at which a run ends.
        learning_rate: of a run.
        seed: of a run.
        schedule: schedule of the learning rate of a full run.
        data: hash of the data of the task.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    task: str
    phase: Phase
    candidate: str
    steps: int = 0
    learning_rate: float | None = None
    seed: int | None = None
    schedule: Knots = ()
    data: str = ""

    @property
    def id(self) -> str:
        """Name of its folder: readable, and unique."""
        parts = [self.task, self.phase, self.candidate]
        parts += [f"lr{self.learning_rate:g}"] if self.learning_rate is not None else []
        parts += [f"seed{self.seed}"] if self.seed is not None else []
        parts += [f"to{self.steps}"] if self.phase == "train" else []
        readable = re.sub(r"[^A-Za-z0-9._]+", "-", "-".join(parts))[:80]
        return f"{readable}-{hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:8]}"


class Searched(Record):
    """Findings of a short run of the learning-rate search; loss and score are of validation samples."""

    loss: float | None
    score: float | None = None
    valid_sample: Sample | None = None
    step_seconds: float = 0.0

    def run(self, unit: Unit, first_seed: int) -> SearchRun:
        """Return its entry in the results; it tells the seed of others than the first."""
        assert unit.learning_rate is not None
        held = self.model_dump(include={"loss", "score", "valid_sample"})
        seed = None if unit.seed == first_seed else unit.seed
        return SearchRun(learning_rate=unit.learning_rate, steps=unit.steps, seed=seed, **held)


class Trained(Record):
    """Findings of a leg of a full run.

    Attributes:
        step_seconds: seconds of a step in it; 0 if the run was over before.
        seconds: seconds of all steps so far.
        curve: learning curve so far.
        valid: validation score at the last point of it.
        over: True if the run is not trained further (:mod:`anyformer.compare.run.training`).
    """

    step_seconds: float
    seconds: float
    curve: list[Point] = Field(default_factory=list)
    valid: Sample | None = None
    over: bool = False


class Scored(Record):
    """Findings of a trained full run on the test split; ``files`` has the hashes of its model's files."""

    score: float
    valid: float | None
    valid_loss: float | None = None
    valid_sample: Sample | None = None
    test: Sample
    seconds: float
    steps: int | None = None
    best_step: int | None = None
    curve: list[Point]
    by_length: ByLength
    beside: dict[str, float] = Field(default_factory=dict)
    files: dict[str, str] = Field(default_factory=dict)

    def run(self, seed: int, learning_rate: float) -> SeedRun:
        """Return its entry in the results."""
        held = {name: getattr(self, name) for name in SeedRun.model_fields if hasattr(self, name)}
        return SeedRun(seed=seed, learning_rate=learning_rate, **held)


class Refitted(Record):
    """Findings of the winner's training on all data: its score on the validation split, which it was trained on."""

    valid: float
    seconds: float
    files: dict[str, str] = Field(default_factory=dict)


class ReferenceFitted(Record):
    """Findings of a reference; the scores of test samples are in a file, whose hash is in ``files``.

    For ``parameters`` and the times see :class:`anyformer.compare.results.ReferenceResult`.
    """

    description: str
    parameters: int | None = None
    fit_seconds: float | None = None
    predict_ms: float | None = None
    beside: dict[str, float] = Field(default_factory=dict)
    files: dict[str, str]


Found = Calibration | Searched | Trained | Scored | Costs | ReferenceFitted | Refitted
FOUND: dict[Phase, type[Found]] = {
    "reference": ReferenceFitted,
    "calibrate": Calibration,
    "search": Searched,
    "train": Trained,
    "score": Scored,
    "measure": Costs,
    "refit": Refitted,
}
"""Type of a unit's findings, by its phase."""
F = TypeVar("F", Calibration, Searched, Trained, Scored, Costs, ReferenceFitted, Refitted)


@dataclass(frozen=True)
class Outcome:
    """End of a unit: its findings if the status is "ok", else the failure and its reason."""

    status: Status
    reason: str = ""
    found: Found | None = None

    def of(self, kind: type[F]) -> F | None:
        """Return the findings, which must be of this type; None if the unit failed."""
        assert self.found is None or isinstance(self.found, kind), (
            f"{kind.__name__} expected, got {self.found!r}"
        )
        return self.found
