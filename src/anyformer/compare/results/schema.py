"""The schema of ``results.json``, which has all results of a comparison.

The report, the leaderboard in the terminal and users' scripts read only this. A file has one :class:`TaskResult` for
each task; its candidates have the measurements (scores, curves, costs), its leaderboard and verdict the conclusions
(see :mod:`anyformer.compare.verdict.judge`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from anyformer.compare.results.measurements import CandidateResult, Record, ReferenceResult
from anyformer.files import write_atomically
from anyformer.metrics import MetricInfo

SCHEMA_VERSION = 3

VerdictKind = Literal["winner", "too_close", "no_model_needed", "single", "nothing", "undertrained"]


class TaskFacts(Record):
    """Facts about the data and its splits; ``facts`` is the task's own ``describe()``.

    ``beside`` are the metrics besides the one that ranks, measured of ``beside_items`` test samples.
    ``predicts`` is True if models of the task predict on new files, and ``suffix`` is the ending of a file of answers;
    ``writes`` is True if they continue a prompt;
    ``source_length`` is that of the longest sequence before the inputs.
    """

    name: str
    title: str
    metric: MetricInfo
    beside: list[MetricInfo] = Field(default_factory=list)
    beside_items: int = 0
    train_length: int
    source_length: int = 0
    lengths: list[int] = Field(default_factory=list)
    facts: dict[str, Any] = Field(default_factory=dict)
    notes: list[str] = Field(default_factory=list)
    predicts: bool = False
    writes: bool = False
    suffix: str = ".csv"


class Settings(Record):
    """Settings that all candidates of a task shared.

    ``steps`` are those of the slowest one's runs; where ``equal`` is "budget", others take more in the same time.
    """

    budget: str
    hold: Literal["parameters", "flops"]
    steps: int
    batch_size: int
    seeds: list[int]
    learning_rates: list[float]
    """Rates that every candidate tried first."""
    ladder: list[float] = Field(default_factory=list)
    """All rates that the search could try."""
    search: str = ""
    schedule: str = ""
    equal: Literal["budget", "steps"] = "steps"
    """What training has equal: its time, or the steps of all candidates."""
    target_parameters: int | None = None
    tables: int = 0
    """Parameters in tables of the data's values, which all candidates have alike."""


class Machine(Record):
    """The machine on which the comparison ran, and how its cores were shared."""

    system: str
    processor: str
    cores: int
    workers: int
    threads: int
    device: str
    python: str
    versions: dict[str, str]


class Standing(Record):
    """A row of the leaderboard.

    Attributes:
        low, high: 95% interval of the score; infinite if nothing bounds it.
        tied_with_best: True if nothing is ahead of the row, nor of another one, by the contrasts of the verdict.
        stopped_at: step at which a candidate was stopped, because it could no longer win; it is never tied.
    """

    rank: int
    name: str
    kind: Literal["candidate", "reference"]
    score: float
    low: float
    high: float
    tied_with_best: bool = False
    stopped_at: int | None = None


class Contrast(Record):
    """Difference between a candidate and another row; positive means that the candidate is better.

    ``p`` is corrected for the number of comparisons (Holm), and the interval corresponds to it: it excludes 0 exactly
    if ``p`` is below 0.05. Differences up to ``smallest`` are too small to matter.
    """

    better: str
    other: str
    difference: float
    low: float
    high: float
    p: float
    smallest: float = 0.0


class Trend(Record):
    """Growth of a candidate's validation score with the steps; see :mod:`anyformer.compare.verdict.trends`.

    Attributes:
        gains: expected changes of the score in the next doublings of the steps; positive means better.
        learned: change of the score since before training.
        noise: standard error of a difference between scores, over seeds.
        loss_falls: share by which the loss is expected to fall in the next doubling.
        over: True if most runs were best before their end.
        next: the expected change in the next doubling and the ends of its 95% interval; None if they are not known.
    """

    name: str
    steps: int
    gains: list[float]
    learned: float | None = None
    noise: float = 0.0
    loss_falls: float = 0.0
    over: bool = False
    next: tuple[float, float, float] | None = None


class Shortage(Record):
    """Training that is lacking for a verdict.

    Attributes:
        steps: steps that a run of the slowest candidate needs in all.
        seconds: further time for that, estimated.
        option: that time as a value of ``--more``.
    """

    steps: int
    seconds: float
    option: str = ""


class Verdict(Record):
    """The verdict in words, with the contrasts that it rests on."""

    kind: VerdictKind
    headline: str
    details: list[str] = Field(default_factory=list)
    winner: str | None = None
    tied: list[str] = Field(default_factory=list)
    best: list[str] = Field(default_factory=list)
    """The candidate with the best score, and those that it is not ahead of: one of them is saved."""
    contrasts: list[Contrast] = Field(default_factory=list)
    trends: list[Trend] = Field(default_factory=list)
    shortage: Shortage | None = None
    """Lacking training, only if the kind is ``undertrained``."""


class Diagnostic(Record):
    """The cost of a change of the test data to the winner.

    Attributes:
        kind: the order shuffled, the context cut, variates exchanged between samples, or the trend taken out.
        told: what that says, in a sentence.
        score: on the same samples, unchanged.
        changed: the score after each change, by its detail: the elements that were kept, or the variate.
    """

    kind: Literal["order", "context", "variates", "trend"]
    told: str
    score: float
    changed: dict[str, float]


class Confidence(Record):
    """The temperature of the saved model's probabilities, and the calibration error in test without and with it."""

    temperature: float
    before: float
    after: float


class TaskResult(Record):
    """All results on one task."""

    task: TaskFacts
    settings: Settings
    candidates: list[CandidateResult]
    references: list[ReferenceResult] = Field(default_factory=list)
    leaderboard: list[Standing] = Field(default_factory=list)
    verdict: Verdict
    diagnostics: list[Diagnostic] = Field(default_factory=list)
    undiagnosed: list[str] = Field(default_factory=list)
    """Sentences about changes that could not be scored, with the reason."""
    saved: str | None = None
    """Candidate whose model is in the folder ``saved_path`` of the comparison."""
    saved_path: str | None = None
    refit: bool = False
    """True if the saved model was trained once more, on the data of all splits."""
    confidence: Confidence | None = None
    """Calibration of its probabilities, fitted for its best run on validation data; None if it tells no classes."""
    saved_note: str = ""
    """Sentences about the choice of the saved model, and the data that it was trained on."""


class Results(Record):
    """The whole of ``results.json``."""

    schema_version: int = SCHEMA_VERSION
    created: str
    seconds: float
    command: str = ""
    folder: str = ""
    earlier: list[str] = Field(default_factory=list)
    """Names of the files with the results before each ``--more``, in the same folder, oldest first."""
    machine: Machine
    tasks: list[TaskResult]

    def how_to_go_on(self, result: TaskResult) -> str:
        """Return the command that trains long enough for a task's verdict; "" if there was enough training."""
        shortage = result.verdict.shortage
        return (
            "" if shortage is None else f"anyformer compare --more {shortage.option} {self.folder}".rstrip()
        )

    def save(self, path: Path) -> None:
        """Write the file in one step: a reader sees the old file or the new one, never a part."""
        write_atomically(path, self.model_dump_json(indent=1))

    @classmethod
    def load(cls, path: Path) -> Results:
        """Read the file.

        Raises:
            ValidationError: if it has another schema, such as that of another version.
        """
        return cls.model_validate_json(path.read_text(encoding="utf-8"))
