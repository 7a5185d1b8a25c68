"""Outcomes of the units of a comparison, as far as they are known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean

from anyformer.compare.plan.schema import Calibration
from anyformer.compare.results import SearchRun, Status
from anyformer.compare.run.unit import Outcome, Scored

Failure = tuple[Status, str]


@dataclass
class TaskOutcomes:
    """The outcomes of one task's units, by candidate."""

    references: dict[str, Outcome] = field(default_factory=dict)
    reference_folders: dict[str, Path] = field(default_factory=dict)
    calibrations: dict[str, Calibration] = field(default_factory=dict)
    """Latest measurements."""
    paces: dict[str, list[float]] = field(default_factory=dict)
    """All measured seconds of a training step."""
    search: dict[str, list[SearchRun]] = field(default_factory=dict)
    rates: dict[str, dict[int, float]] = field(default_factory=dict)
    """Chosen learning rates, by seed."""
    over: dict[str, int] = field(default_factory=dict)
    """Full runs that are not trained further, by candidate."""
    runs: dict[str, dict[int, Scored]] = field(default_factory=dict)
    folders: dict[str, dict[int, Path]] = field(default_factory=dict)
    costs: dict[str, Outcome] = field(default_factory=dict)
    failures: dict[str, Failure] = field(default_factory=dict)

    def speeds(self, names: Sequence[str], *, fastest: bool = False) -> dict[str, Calibration]:
        """Return the speeds of those candidates that are known: the latest, or those with the shortest step time."""
        known = {name: self.calibrations[name] for name in names if name in self.calibrations}
        if not fastest:
            return known
        return {n: c.model_copy(update={"step_seconds": min(self.paces[n])}) for n, c in known.items()}

    def note_pace(self, name: str, paces: Sequence[float]) -> None:
        """Update a candidate's speeds by its latest step times; evaluation is assumed to change by the same factor."""
        known = [pace for pace in paces if pace > 0]
        if not known:
            return
        seconds, old = fmean(known), self.calibrations[name]
        self.paces.setdefault(name, []).append(seconds)
        times = seconds / old.step_seconds
        update = {"step_seconds": seconds, "eval_seconds": times * old.eval_seconds}
        self.calibrations[name] = old.model_copy(update=update)
