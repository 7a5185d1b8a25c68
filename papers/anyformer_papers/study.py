"""A study: a comparison with a prediction, which tests a paper's claim at a small scale.

Its arms differ in exactly one field of their specs. It is committed before it is run; ``compare`` trains, measures and
judges the arms; and the result, whatever it is, is appended to the records beside the card.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from anyformer.compare import TaskResult, compare
from anyformer.compare.results import CandidateResult, Contrast, Machine
from anyformer.compare.verdict.confidence_intervals import ScoredEntry
from anyformer.compare.verdict.significance import contrasts
from anyformer.models import ModelSpec, load_spec
from anyformer.models.flat import to_flat

Verdict = Literal["reproduced", "reversed", "too close", "underpowered", "uninformative"]
ANSWERS: tuple[Verdict, ...] = ("reproduced", "reversed", "too close")
"""Verdicts that answer the question; they count alike."""
Expect = Literal["better", "no worse"]


class Arm(BaseModel):
    """Result of one arm: the score of every seed, its size, its learning rate and how it ended."""

    model_config = ConfigDict(extra="forbid")

    scores: list[float]
    parameters: int | None
    learning_rate: float | None
    status: str
    reason: str = ""


class StudyRecord(BaseModel):
    """Result of one run of a study. Records are only ever appended."""

    model_config = ConfigDict(extra="forbid")

    date: str
    study: str
    """:attr:`Study.hash` of the study that was run."""
    verdict: Verdict
    words: str
    metric: str
    arms: dict[str, Arm]
    references: dict[str, float]
    contrasts: list[Contrast]
    seconds: float
    machine: Machine

    def line(self) -> str:
        """Return the verdict and its figures in one line."""
        return f"{self.verdict} on {self.date}: {self.words}"


@dataclass(frozen=True)
class Study:
    """A prediction about a comparison.

    Attributes:
        task: the task's name.
        options: options of the task.
        arms: specs by name, in the predicted order, best first. They differ in one field.
        smallest: the smallest difference that matters, in the metric's units.
        expect: the prediction: the first arm is ``better`` than every other one, or ``no worse``.
        steps: optimiser steps of each training run.
        parameters: size of every arm, matched by width.
        times_longer: the length at which the arms are judged, as a multiple of the trained one.
        seeds: training runs of each arm.
    """

    task: str
    arms: Mapping[str, str | Mapping[str, Any]]
    smallest: float
    expect: Expect = "better"
    options: Mapping[str, Any] = field(default_factory=dict)
    steps: int = 400
    parameters: int = 50_000
    batch_size: int | None = None
    times_longer: int = 1
    seeds: int = 5

    def specs(self) -> dict[str, ModelSpec]:
        """Return the arms as specs.

        Raises:
            ValueError: if there are fewer than two arms, or they differ in more than one field.
        """
        if len(self.arms) < 2:
            raise ValueError(f"a study needs two arms or more, got {len(self.arms)}")
        specs = {name: load_spec(spec) for name, spec in self.arms.items()}
        first, *others = specs.items()
        fields = {path for _, other in others for path in differing_fields(first[1], other)}
        if len(fields) > 1:
            raise ValueError(f"arms must differ in one field only, got {', '.join(sorted(fields))}")
        return specs

    @property
    def hash(self) -> str:
        """Hash of every field; a record with another hash is stale."""
        said = {name: getattr(self, name) for name in self.__dataclass_fields__}
        specs = self.specs().items()
        said["arms"] = [[name, to_flat(spec)] for name, spec in specs]
        said["options"] = dict(self.options)
        return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:16]

    def records(self, path: Path, *, stale: bool = False) -> list[StudyRecord]:
        """Read the records of this study from a file of one record a line; with ``stale`` those of other versions."""
        if not path.exists():
            return []
        lines = path.read_text(encoding="utf-8").splitlines()
        found = [StudyRecord.model_validate_json(line) for line in lines if line.strip()]
        return [record for record in found if (record.study != self.hash) == stale]

    def run(self, *, workers: int | None = None, out: Path | None = None, quiet: bool = False) -> StudyRecord:
        """Train the arms, judge them, and return the record.

        Args:
            workers: processes; by default one a core.
            out: a folder in which to keep the whole comparison; by default it is deleted.
            quiet: print nothing.
        """
        self.specs()
        with tempfile.TemporaryDirectory() as scratch:
            done = compare(
                self.task,
                {name: str(spec) for name, spec in self.specs().items()},
                options=dict(self.options),
                budget=f"{self.steps} steps",
                parameters=self.parameters,
                batch_size=self.batch_size,
                seeds=self.seeds,
                workers=workers,
                out=out or Path(scratch) / "study",
                quiet=quiet,
            )
        result = done.results.tasks[0]
        verdict, words, found = self.judge(result)
        return StudyRecord(
            date=date.today().isoformat(),
            study=self.hash,
            verdict=verdict,
            words=words,
            metric=result.task.metric.name,
            arms={c.name: self._arm(c, result) for c in result.candidates},
            references={r.name: r.test.score for r in result.references if r.test is not None},
            contrasts=found,
            seconds=round(done.results.seconds, 1),
            machine=done.results.machine,
        )

    def judge(self, result: TaskResult) -> tuple[Verdict, str, list[Contrast]]:
        """Return the verdict on a finished comparison, the verdict in words, and the contrasts that it rests on."""
        metric = result.task.metric
        rows = {c.name: self._row(c, result) for c in result.candidates if c.status == "ok" and c.runs}
        missing = [name for name in self.arms if name not in rows]
        if missing:
            return "uninformative", f"{', '.join(missing)} did not finish", []
        scores = ", ".join(f"{name} {rows[name].score:.3f}" for name in self.arms)
        words = f"{metric.name} {scores} (mean of {self.seeds} seeds{self._where(result)})"
        best = max(rows.values(), key=lambda row: row.score if metric.higher_is_better else -row.score)
        for reference in self._references(result):
            beaten = contrasts(
                [(best, reference)], higher_is_better=metric.higher_is_better, limits=metric.limits
            )[0]
            if not beaten.low > 0:
                return "uninformative", f"{words}; the reference {reference.name!r} is not beaten", [beaten]
        first, *others = (rows[name] for name in self.arms)
        found = contrasts(
            [(first, other) for other in others],
            higher_is_better=metric.higher_is_better,
            limits=metric.limits,
        )
        gaps = "; ".join(
            f"ahead of {c.other} by {c.difference:.3f} ({c.low:.3f} to {c.high:.3f})" for c in found
        )
        return _combine([self._verdict(c) for c in found]), f"{words}; {first.name} is {gaps}", found

    def _verdict(self, c: Contrast) -> Verdict:
        """Judge one contrast: its interval against zero and against the smallest difference that matters."""
        if self.expect == "no worse":
            return (
                "reproduced"
                if c.low > -self.smallest
                else "reversed"
                if c.high < -self.smallest
                else "underpowered"
            )
        if c.low > 0 and c.difference >= self.smallest:
            return "reproduced"
        if c.high < 0 and c.difference <= -self.smallest:
            return "reversed"
        return "too close" if -self.smallest < c.low and c.high < self.smallest else "underpowered"

    def _row(self, candidate: CandidateResult, result: TaskResult) -> ScoredEntry:
        if self.times_longer == 1:
            return ScoredEntry(candidate.name, tuple(run.test for run in candidate.runs))
        length = self._length(result)
        return ScoredEntry(candidate.name, tuple(run.by_length[length] for run in candidate.runs))

    def _references(self, result: TaskResult) -> list[ScoredEntry]:
        """Return the references at the length at which the arms are judged.

        Raises:
            ValueError: if one was not measured there.
        """
        found = []
        for reference in result.references:
            if reference.test is None:
                continue
            sample = (
                reference.test if self.times_longer == 1 else reference.by_length.get(self._length(result))
            )
            if sample is None:
                raise ValueError(f"the reference {reference.name!r} was not measured{self._where(result)}")
            found.append(ScoredEntry(reference.name, (sample,), is_reference=True))
        return found

    def _length(self, result: TaskResult) -> int:
        wanted = self.times_longer * result.task.train_length
        if wanted not in result.task.lengths:
            raise ValueError(f"times_longer must lead to one of {result.task.lengths}, got {wanted}")
        return wanted

    def _where(self, result: TaskResult) -> str:
        return "" if self.times_longer == 1 else f" at length {self._length(result)}"

    def _arm(self, c: CandidateResult, result: TaskResult) -> Arm:
        finished = c.status == "ok" and bool(c.runs)
        return Arm(
            scores=[sample.score for sample in self._row(c, result).samples] if finished else [],
            parameters=c.parameters,
            learning_rate=c.learning_rate,
            status=c.status,
            reason=c.reason,
        )


def _combine(verdicts: list[Verdict]) -> Verdict:
    """Return ``reproduced`` if all are, ``reversed`` if any is, else the least certain of them."""
    for verdict in ("reversed", "underpowered", "too close"):
        if verdict in verdicts:
            return verdict
    return "reproduced"


def differing_fields(one: ModelSpec, other: ModelSpec) -> set[str]:
    """Return the fields in which two specs differ: ``layers.name``, ``layers.options.window``, ``positions.name``, ...

    A part of another name with other options counts as one field, and so does one change made in many layers. The
    width is left out, because sizes are matched by it.
    """
    left, right = (_values(spec) for spec in (one, other))
    paths = {path for path in {*left, *right} if left.get(path) != right.get(path)} - {"dim"}
    renamed = {path.removesuffix(".name") for path in paths if path.endswith(".name")}
    return {
        path
        for path in paths
        if path.endswith(".name") or not any(path.startswith(f"{part}.") for part in renamed)
    }


def _values(spec: ModelSpec) -> dict[str, list[Any]]:
    """Map each path to its values, in order; paths leave list indices out."""
    found: dict[str, list[Any]] = {}
    for path, value in _walk(spec.model_dump(mode="json"), ""):
        found.setdefault(path, []).append(value)
    return found


def _walk(tree: Any, path: str) -> Iterator[tuple[str, Any]]:
    if isinstance(tree, dict):
        for key, value in tree.items():
            yield from _walk(value, f"{path}.{key}" if path else key)
    elif isinstance(tree, list) and path.split(".")[-1] in ("layers", "encoder", "inner"):
        for value in tree:
            yield from _walk(value, path)
    else:
        yield path, tree
