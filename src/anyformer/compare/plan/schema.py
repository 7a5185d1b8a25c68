"""Budgets, and the plan, which keeps all that is decided (:mod:`anyformer.compare.plan.allocation`).

Everything decided is written to ``plan.json`` before it is acted on, and only once, so that a comparison that was
stopped goes on under the decisions it started with.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError

from anyformer.compare.plan.budget import CLOSING_SECONDS, Budget
from anyformer.compare.results import Record
from anyformer.files import read_json, write_atomically
from anyformer.tasks.fingerprint import Fingerprint
from anyformer.train.schedule import Knots, top
from anyformer.user_code import named_files, refuse_code

VERSION = 5
"""Of the format of ``plan.json``; the units of one version are never mixed with those of another."""
MEASURE_SHARE = 0.12
"""Share of a time budget for measuring costs."""


class PlannedCandidate(Record):
    """A candidate with its solved size; ``problem`` says why it cannot be built."""

    name: str
    given: str
    asked: dict[str, Any] = Field(default_factory=dict)
    """The spec before its size was solved."""
    spec: dict[str, Any] | None = None
    parameters: int | None = None
    width: int | None = None
    problem: str = ""


class Rounds(Record):
    """The search: steps of both rounds, and validation samples behind each run."""

    steps: tuple[int, int]
    valid_items: int


class Trials(Record):
    """The learning rates that a candidate tries in both rounds, in this order, and the one that is chosen."""

    short: list[float]
    long: list[float] = Field(default_factory=list)
    rate: float | None = None


class Leg(Record):
    """A part of the full runs, which all candidates and seeds go through before any goes on.

    Attributes:
        steps: behind which it ends, counted from the start of the run.
        schedule: of the learning rate, to the end of the run as it is planned now.
        every: steps between points on the learning curve, each over ``curve_items`` samples.
    """

    steps: int
    schedule: Knots
    every: int
    curve_items: int

    @property
    def planned(self) -> int:
        """Steps of the whole run, as it is planned now."""
        return self.schedule[-1][0]

    @property
    def is_last(self) -> bool:
        return self.steps == self.planned


class Final(Record):
    """The full runs: steps, points on the learning curve, and how many samples of each split are evaluated.

    Which ones they are, :meth:`anyformer.tasks.Task.subset` says; ``length_items`` are those of each longer length.
    """

    steps: int
    evaluations: int
    curve_items: int
    valid_items: int
    test_items: int
    length_items: int


class TaskPlan(Record):
    """What all candidates of a task share. ``rounds``, ``legs`` and ``final`` are decided on the way."""

    name: str
    source: str | None
    target: str | list[str] | None = None
    options: dict[str, Any] = Field(default_factory=dict)
    candidates: list[PlannedCandidate]
    batch_size: int
    eval_size: int
    """Sequences in an evaluated batch."""
    tokens: int
    """Tokens in a training step."""
    learning_rates: list[float]
    """Those that every candidate tries first; see :mod:`anyformer.compare.plan.learning_rate_search`."""
    trials: dict[str, Trials] = Field(default_factory=dict)
    """Of each candidate, filled in as the search goes on."""
    share: float = 1.0
    """Of a time budget, relative to the other tasks."""
    split_items: dict[str, int]
    """Samples in the validation and in the test split."""
    longer: list[float] = Field(default_factory=list)
    """Test lengths beyond the trained one, in trained lengths."""
    wanted: int = 0
    """Parameters at which the sizes are solved."""
    target_parameters: int | None = None
    data: Fingerprint = Field(default_factory=Fingerprint)
    rounds: Rounds | None = None
    legs: list[Leg] = Field(default_factory=list)
    trained: int = 0
    """Steps of the full runs before the comparison was gone on with; more are to follow."""
    final: Final | None = None
    remarks: list[str] = Field(default_factory=list)

    @property
    def goes_on_from(self) -> int:
        """The last leg's end at which the learning rate had not begun to fall: longer runs share all up to there."""
        return max((leg.steps for leg in self.legs if leg.steps <= top(self.legs[-1].schedule)), default=0)

    def candidate(self, name: str) -> PlannedCandidate:
        return next(c for c in self.candidates if c.name == name)

    @property
    def code(self) -> list[str]:
        """The Python files that it names to run, as ``file.py:Name``."""
        return named_files([self.source, self.options, [[c.asked, c.spec] for c in self.candidates]])

    @property
    def buildable(self) -> list[PlannedCandidate]:
        return [c for c in self.candidates if not c.problem]


class More(Record):
    """A budget that was granted to a finished comparison, after ``since`` seconds; what it had found is kept."""

    budget: str
    since: float
    kept: str


class Plan(Record):
    """``plan.json``."""

    version: int = VERSION
    created: str
    command: str = ""
    budget: str
    hold: Literal["parameters", "flops"]
    seeds: list[int]
    workers: int
    threads: int
    storage: str | None = None
    """The storage's URL with its secrets masked; None for the folder's own."""
    batch_size: int | None = None
    """As it was asked for."""
    tasks: list[TaskPlan]
    more: list[More] = Field(default_factory=list)
    search_cut: bool = False
    """Whether the search for learning rates was ended for lack of time."""
    busy: str = ""
    """Who disturbed it, in a sentence."""
    closing: float = CLOSING_SECONDS
    """Seconds set aside for the results and the report: more where the start took longer than it worked."""
    measuring: float | None = None
    """Seconds for measuring the costs of one candidate, as it was decided when the training was over."""

    @property
    def granted(self) -> Budget:
        """The budget that is being spent: the first, or what was granted last."""
        return Budget.parse(self.more[-1].budget if self.more else self.budget)

    @property
    def slowness(self) -> float:
        """How many times longer than it works the machine takes, as busy as it was at the start."""
        return self.closing / CLOSING_SECONDS

    @property
    def since(self) -> float:
        """When its time began, in seconds of the comparison."""
        return self.more[-1].since if self.more else 0.0

    @property
    def budgets(self) -> str:
        """All budgets in words."""
        return ", then ".join([self.budget, *(f"{more.budget} more" for more in self.more)])

    def task(self, name: str) -> TaskPlan:
        return next(t for t in self.tasks if t.name == name)

    def save(self, folder: Path) -> None:
        write_atomically(folder / "plan.json", self.model_dump_json(indent=1))

    @classmethod
    def load(cls, folder: Path, *, trust_code: bool = False) -> Plan:
        """The plan in ``folder``.

        Raises:
            ValueError: when there is none, or it is damaged or of another version, or when it names Python files to
                run and ``trust_code`` is false.
        """
        path = folder / "plan.json"
        if not path.exists():
            raise ValueError(f"{str(folder)!r} holds no comparison to resume (it has no plan.json)")
        held = read_json(path)
        version = held.get("version") if isinstance(held, dict) else None
        if isinstance(version, int) and version != VERSION:
            newer = version > VERSION
            raise ValueError(
                f"{str(path)!r} was written by {'a newer' if newer else 'an older'} version of anyformer (format "
                f"{version}, this one reads {VERSION}): {'update anyformer' if newer else 'go on with that version'}, "
                "or compare anew in another folder"
            )
        try:
            plan = cls.model_validate(held)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"])) if held is not None else "it is no JSON"
            raise ValueError(
                f"{str(path)!r} is damaged ({where or 'it is no plan'}), and the comparison cannot go on without it: "
                f"delete {str(folder)!r} and compare anew"
            ) from None
        refuse_code(plan.code, path, trust_code=trust_code)
        return plan

    @property
    def code(self) -> list[str]:
        """The Python files that it names to run, as ``file.py:Name``."""
        return list(dict.fromkeys(name for task in self.tasks for name in task.code))

    @property
    def measure_seconds(self) -> float:
        """Time set aside for measuring the costs of one candidate."""
        budget = Budget.parse(self.budget)
        everyone = sum(len(task.buildable) for task in self.tasks) or 1
        if budget.kind != "seconds":
            return 4.0
        return min(10.0, max(0.4, MEASURE_SHARE * budget.amount / everyone))


class Calibration(Record):
    """Measured on one candidate: seconds of a training step and of an evaluated batch."""

    step_seconds: float
    eval_seconds: float
    untrained: float | None = None
    """Validation score before the first step."""


def default_parameters(budget: Budget, runs: int, tokens: int, *, accelerated: bool = False) -> int:
    """A size at which a run of this budget comes to some hundreds of steps; a round number.

    A step costs about 6 FLOPs for each parameter and token. The speeds assumed (5 GFLOP/s for one CPU worker,
    20 TFLOP/s for an accelerator) are rough, which only shifts the size, for all candidates alike.
    """
    if budget.kind != "seconds":
        return 200_000
    speed = 2e13 if accelerated else 5e9
    wanted = budget.amount / max(1, runs) * speed / 300 / (6 * tokens)
    wanted = min(5e7, max(4e4, wanted))
    size = 10 ** math.floor(math.log10(wanted))
    return int(max(m * size for m in (1, 2, 4) if m * size <= wanted))


def default_eval_size(batch_size: int, samples: int) -> int:
    """Four training batches at once, which is faster, or all the samples of a smaller test set."""
    return max(1, min(4 * batch_size, samples))


def default_batch_size(length: int) -> int:
    """The largest power of two up to 32 that keeps a step within 4096 tokens, and at least 4."""
    return max(4, min(32, 2 ** int(math.log2(max(1, 4096 // length)))))
