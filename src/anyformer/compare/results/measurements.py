"""Measurements of candidates and references, the larger part of ``results.json``."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

Status = Literal["ok", "failed", "diverged", "out_of_memory", "bad_spec", "left_out"]


class Record(BaseModel):
    """Base of all parts of the file. Unknown fields are refused, so that a misspelt one is noticed."""

    # "constants": a diverged loss is NaN, and must come back from the file as NaN.
    model_config = ConfigDict(extra="forbid", ser_json_inf_nan="constants")


class Point(Record):
    """One point of a learning curve. ``seconds`` counts training only, not evaluations."""

    step: int
    seconds: float
    tokens: int
    train_loss: float
    valid: float | None = None


class Sample(Record):
    """A score on a test set, with the pieces of which it consists: the score is sum(sums) / sum(weights).

    A piece is a test item, a cluster of items that belong together, or several random clusters if there are many (see
    :func:`anyformer.compare.run.items.sample_of`). Pieces are the same for every candidate, so that differences can be
    taken piece by piece. Results of earlier versions have groups of neighbouring batches instead.
    """

    score: float
    sums: list[float] = Field(default_factory=list)
    weights: list[float] = Field(default_factory=list)


def _as_sample(value: Any) -> Any:
    """Convert a bare score, as in results of earlier versions, to the fields of a sample."""
    return {"score": value} if isinstance(value, int | float) else value


ByLength = dict[int, Annotated[Sample, BeforeValidator(_as_sample)]]
"""Scores at lengths never trained on."""


class SeedRun(Record):
    """One full training run, with the scores of its model.

    Attributes:
        steps: steps that it was trained for; None in results of earlier versions.
        best_step: step at which its weights were best on validation samples: the scored and saved ones.
        valid_sample: score on the validation samples of the search, which runs of all lengths have in common.
        learning_rate: chosen for this seed; None in results of earlier versions.
    """

    seed: int
    test: Sample
    valid: float | None = None
    valid_loss: float | None = None
    valid_sample: Sample | None = None
    learning_rate: float | None = None
    seconds: float = 0.0
    steps: int | None = None
    best_step: int | None = None
    curve: list[Point] = Field(default_factory=list)
    by_length: ByLength = Field(default_factory=dict)
    beside: dict[str, float] = Field(default_factory=dict)
    """Values of the metrics beside the one that ranks, by name."""


class SearchRun(Record):
    """One short run of the learning-rate search; validation ``loss`` and ``score`` are None if it failed."""

    learning_rate: float
    steps: int
    loss: float | None
    score: float | None = None
    valid_sample: Sample | None = None
    """The score with its pieces."""
    seed: int | None = None
    """None for the first seed of the comparison, with which both rounds are run."""


class Costs(Record):
    """Costs of a candidate on this machine; a figure that was not measured is None, or lacks its length."""

    train_tokens_per_second: float | None = None
    prefill_ms: dict[int, float] = Field(default_factory=dict)
    token_latency_ms: float | None = None
    peak_memory_bytes: int | None = None
    memory_bytes: dict[int, int] = Field(default_factory=dict)
    state_bytes: dict[int, int] = Field(default_factory=dict)
    flops_per_token: float | None = None
    notes: list[str] = Field(default_factory=list)


class EarlyStop(Record):
    """The end of a candidate's training before that of the others, because it could no longer win.

    Attributes:
        steps: step at which it was stopped.
        behind: how far it was behind the best then, on validation samples; positive means worse.
        best: the best candidate then.
    """

    steps: int
    behind: float
    best: str


class CandidateResult(Record):
    """A candidate: as the user gave it, as it was built, and its measurements."""

    name: str
    given: str
    spec: Any = None
    status: Status = "ok"
    reason: str = ""
    parameters: int | None = None
    width: int | None = None
    untrained: float | None = None
    """Validation score before training, on some samples."""
    learning_rate: float | None = None
    rate_lies: Literal["inside", "lowest", "highest", "edge"] | None = None
    """Position of the learning rate: between two worse ones, at an end of the ladder of rates, or at the edge of the
    rates that there was time to try."""
    search: list[SearchRun] = Field(default_factory=list)
    runs: list[SeedRun] = Field(default_factory=list)
    steps: int = 0
    """Steps of a whole run, whether or not it was trained to the end."""
    stopped: EarlyStop | None = None
    """Set if it was not trained to the end; it is scored as it was then."""
    costs: Costs = Field(default_factory=Costs)
    saved_bytes: int | None = None
    """Bytes of the file of its weights."""
    outside: list[str] = Field(default_factory=list)
    """How it exceeds the user's limits, so that it cannot win; empty if it is within them."""

    @property
    def fit_seconds(self) -> float | None:
        """The mean time of training of its full runs; None if there is none."""
        return sum(run.seconds for run in self.runs) / len(self.runs) if self.runs else None


class ReferenceResult(Record):
    """A predictor without a sequence model, on the same test set.

    Attributes:
        parameters: numbers that it keeps of the training data; None if it does not count them.
        fit_seconds: time of fitting it on the CPU, the choice of its settings included.
        predict_ms: time of predicting one test item on the CPU, in batches.
    """

    name: str
    description: str = ""
    parameters: int | None = None
    fit_seconds: float | None = None
    predict_ms: float | None = None
    test: Sample | None = None
    by_length: ByLength = Field(default_factory=dict)
    beside: dict[str, float] = Field(default_factory=dict)
    reason: str = ""
