"""The schema of ``results.json``: everything a comparison found, in the form in which it is kept.

The report, the leaderboard in the terminal and other people's scripts read only this. A file holds one
:class:`TaskResult` for each task compared; inside it, candidates carry what was measured (scores, curves, costs)
and the leaderboard and verdict carry what was concluded from it (see :mod:`anyformer.compare.verdict.judge`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from anyformer.files import write_atomically
from anyformer.metrics import MetricInfo

SCHEMA_VERSION = 2

Status = Literal["ok", "failed", "diverged", "out_of_memory", "bad_spec"]
VerdictKind = Literal["winner", "too_close", "no_model_needed", "single", "nothing", "undertrained"]


class Record(BaseModel):
    """A part of the file. Unknown fields are refused, so that a misspelt one cannot pass unseen."""

    # "constants": a diverged loss is NaN, and must come back from the file as NaN.
    model_config = ConfigDict(extra="forbid", ser_json_inf_nan="constants")


class TaskFacts(Record):
    """What the data was and how it was split; ``facts`` is the task's own ``describe()``."""

    name: str
    title: str
    metric: MetricInfo
    train_length: int
    lengths: list[int] = Field(default_factory=list)
    facts: dict[str, Any] = Field(default_factory=dict)
    notes: list[str] = Field(default_factory=list)


class Settings(Record):
    """What all candidates of a task shared."""

    budget: str
    hold: Literal["parameters", "flops"]
    steps: int
    batch_size: int
    seeds: list[int]
    learning_rates: list[float]
    """Those that every candidate tried first."""
    ladder: list[float] = Field(default_factory=list)
    """All rates that the search could go on to."""
    search: str = ""
    schedule: str = ""
    target_parameters: int | None = None


class Machine(Record):
    """Where it ran, and how the cores were shared."""

    system: str
    processor: str
    cores: int
    workers: int
    threads: int
    device: str
    python: str
    versions: dict[str, str]


class Point(Record):
    """One point of a learning curve. ``seconds`` counts training only, not the evaluations between."""

    step: int
    seconds: float
    tokens: int
    train_loss: float
    valid: float | None = None


class Sample(Record):
    """A score on a test set, with the pieces that make it up: the score is sum(sums) / sum(weights).

    A piece is a test item, a cluster of items that belong together, or some clusters at random where there are many
    (see :func:`anyformer.compare.run.items.sample_of`). Pieces are the same for every candidate, so that differences
    pair up. Results of earlier versions hold groups of neighbouring batches instead.
    """

    score: float
    sums: list[float] = Field(default_factory=list)
    weights: list[float] = Field(default_factory=list)


def _as_sample(value: Any) -> Any:
    """Results of earlier versions hold a number where a sample stands now."""
    return {"score": value} if isinstance(value, int | float) else value


ByLength = dict[int, Annotated[Sample, BeforeValidator(_as_sample)]]
"""Scores at lengths never trained on."""


class SeedRun(Record):
    """One full training run and what its model scored on the test split."""

    seed: int
    test: Sample
    valid: float | None = None
    valid_loss: float | None = None
    seconds: float = 0.0
    curve: list[Point] = Field(default_factory=list)
    by_length: ByLength = Field(default_factory=dict)


class SearchRun(Record):
    """One short run of the learning-rate search; ``loss`` and ``score`` (validation) are None when the run failed."""

    learning_rate: float
    steps: int
    loss: float | None
    score: float | None = None


class Costs(Record):
    """What a candidate costs on this machine; a missing figure is None or an absent length."""

    train_tokens_per_second: float | None = None
    prefill_ms: dict[int, float] = Field(default_factory=dict)
    token_latency_ms: float | None = None
    peak_memory_bytes: int | None = None
    memory_bytes: dict[int, int] = Field(default_factory=dict)
    state_bytes: dict[int, int] = Field(default_factory=dict)
    flops_per_token: float | None = None
    notes: list[str] = Field(default_factory=list)


class CandidateResult(Record):
    """An architecture: as the user gave it, as it was built, and everything measured of it."""

    name: str
    given: str
    spec: Any = None
    status: Status = "ok"
    reason: str = ""
    parameters: int | None = None
    width: int | None = None
    untrained: float | None = None
    """Validation score before the first step, on some samples."""
    learning_rate: float | None = None
    rate_lies: Literal["inside", "lowest", "highest", "edge"] | None = None
    """Whether the learning rate has a worse one on either side, is at an end of the ladder of rates, or at the
    edge of what there was time to try."""
    search: list[SearchRun] = Field(default_factory=list)
    runs: list[SeedRun] = Field(default_factory=list)
    costs: Costs = Field(default_factory=Costs)


class ReferenceResult(Record):
    """A predictor without a sequence model, on the same test set."""

    name: str
    description: str = ""
    test: Sample | None = None
    by_length: ByLength = Field(default_factory=dict)
    reason: str = ""


class Standing(Record):
    """A row of the leaderboard. ``low`` and ``high`` bound the score at 95%; infinite where nothing bounds it.

    ``tied_with_best`` is set where the row cannot be told from the first one, and for that one where it has company.
    """

    rank: int
    name: str
    kind: Literal["candidate", "reference"]
    score: float
    low: float
    high: float
    tied_with_best: bool = False

    @property
    def reach(self) -> float:
        """How far the interval goes from the score, on its longer side."""
        return max(self.high - self.score, self.score - self.low)


class Contrast(Record):
    """The best candidate against another row: how much better it is, positive meaning better.

    ``p`` is corrected for the number of rows compared (Holm), and the interval is the one that goes with it:
    it excludes 0 exactly when ``p`` is below 0.05. Differences up to ``smallest`` are too small to matter.
    """

    better: str
    other: str
    difference: float
    low: float
    high: float
    p: float
    smallest: float = 0.0


class Trend(Record):
    """How the validation score of a candidate grows with the steps; see :mod:`anyformer.compare.verdict.undertrained`.

    Attributes:
        gains: of the next doublings of the steps, positive meaning better.
        learned: since before the first step.
        noise: standard error of a difference, over seeds.
        loss_falls: by which share in the next doubling.
    """

    name: str
    steps: int
    gains: list[float]
    learned: float | None = None
    noise: float = 0.0
    loss_falls: float = 0.0


class Shortage(Record):
    """What is lacking for a verdict: steps of a run, about how many further seconds, and ``--more`` with that."""

    steps: int
    seconds: float
    option: str = ""


class Verdict(Record):
    """The answer in words, with the contrasts that it rests on."""

    kind: VerdictKind
    headline: str
    details: list[str] = Field(default_factory=list)
    winner: str | None = None
    tied: list[str] = Field(default_factory=list)
    contrasts: list[Contrast] = Field(default_factory=list)
    trends: list[Trend] = Field(default_factory=list)
    shortage: Shortage | None = None
    """Only where there was not enough training."""


class TaskResult(Record):
    """All that was found on one task."""

    task: TaskFacts
    settings: Settings
    candidates: list[CandidateResult]
    references: list[ReferenceResult] = Field(default_factory=list)
    leaderboard: list[Standing] = Field(default_factory=list)
    verdict: Verdict
    saved: str | None = None
    """The candidate whose model lies in ``saved_path``."""
    saved_path: str | None = None
    """Folder of the saved model, relative to the folder of the comparison."""


class Results(Record):
    """The whole of ``results.json``."""

    schema_version: int = SCHEMA_VERSION
    created: str
    seconds: float
    command: str = ""
    folder: str = ""
    earlier: list[str] = Field(default_factory=list)
    """Results of this comparison before it was gone on with, beside this file, the oldest first."""
    machine: Machine
    tasks: list[TaskResult]

    def how_to_go_on(self, result: TaskResult) -> str:
        """The command that trains for so much longer as a task's verdict needs; empty where it was trained enough."""
        shortage = result.verdict.shortage
        return (
            "" if shortage is None else f"anyformer compare --more {shortage.option} {self.folder}".rstrip()
        )

    def save(self, path: Path) -> None:
        """Writes the file in one step: a reader sees the old one or the new one, never a part."""
        write_atomically(path, self.model_dump_json(indent=1))

    @classmethod
    def load(cls, path: Path) -> Results:
        return cls.model_validate_json(path.read_text(encoding="utf-8"))
