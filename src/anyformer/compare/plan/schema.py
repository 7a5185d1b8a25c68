"""The schema of ``plan.json``, which has every decision of a comparison (:mod:`anyformer.compare.plan.allocation`).

A decision is written before it is acted on, and only once, so that a comparison that was stopped continues under the
same decisions.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError

from anyformer.compare.plan.budget import CLOSING_SECONDS, Budget
from anyformer.compare.results import EarlyStop, Record
from anyformer.files import read_json, write_atomically
from anyformer.tasks.fingerprint import Fingerprint
from anyformer.train.schedule import Knots, end, stretched, top
from anyformer.user_code import named_files, refuse_code

VERSION = 8
"""Version of ``plan.json``. Units of one version are never mixed with those of another."""
MEASURE_SHARE = 0.12
"""Share of a time budget for measuring costs."""


class PlannedCandidate(Record):
    """A candidate with its solved size.

    ``problem`` is the reason why it cannot be built, and ``slow`` why it is left out of a comparison that nobody named
    it for; "" if there is none.
    """

    name: str
    given: str
    asked: dict[str, Any] = Field(default_factory=dict)
    """Spec before its size was solved."""
    spec: dict[str, Any] | None = None
    parameters: int | None = None
    width: int | None = None
    problem: str = ""
    slow: str = ""


SHORTEST = (8, 16)
"""Fewest steps of a run of each round of the search for a learning rate."""


class Rounds(Record):
    """The search for a learning rate: steps of a run in both rounds, and validation samples after each run."""

    steps: tuple[int, int]
    valid_items: int
    strides: dict[str, float] = Field(default_factory=dict)
    """Strides of the task's plan when the search began."""

    def steps_of(self, name: str) -> tuple[int, int]:
        """Return a candidate's own steps of a run in both rounds."""
        short, long = (math.floor(self.strides.get(name, 1.0) * steps) for steps in self.steps)
        return short, long

    @property
    def by_seed(self) -> bool:
        """True if each further seed chooses by runs of its own: not where these may take longer than the full run."""
        return self.steps[1] > SHORTEST[1]


class Trials(Record):
    """Learning rates that a candidate tries, in this order, and the chosen ones.

    Attributes:
        short, long: in both rounds, with the first seed.
        again: the best two, which are run with each other seed for as long as in the second round.
        rates: the chosen one of each seed.
    """

    short: list[float]
    long: list[float] = Field(default_factory=list)
    again: list[float] = Field(default_factory=list)
    rates: list[float] = Field(default_factory=list)


class Leg(Record):
    """A part of the full runs, which all candidates and seeds finish before any of them begins the next.

    Attributes:
        steps: the step after which it ends, counted from the start of the run.
        schedule: schedule of the learning rate, to the end of the run as it was planned when the leg began.
        every: steps between points on the learning curve, each over ``curve_items`` samples.
    """

    steps: int
    schedule: Knots
    every: int
    curve_items: int

    @property
    def planned(self) -> int:
        """Steps of the whole run, as it was planned when the leg began."""
        return end(self.schedule)

    @property
    def is_last(self) -> bool:
        """True if it ends the run as it was planned then."""
        return self.steps == self.planned

    def times(self, stride: float) -> Leg:
        """Return the same leg of a candidate that takes so many steps for each."""
        return Leg(
            steps=math.floor(stride * self.steps),
            schedule=stretched(self.schedule, stride),
            every=math.floor(stride * self.every),
            curve_items=self.curve_items,
        )


class Final(Record):
    """The full runs: steps, points on the learning curve, and numbers of evaluated samples.

    :meth:`anyformer.tasks.Task.subset` chooses the samples; ``length_items`` is their number at each longer length.
    """

    steps: int
    evaluations: int
    curve_items: int
    valid_items: int
    test_items: int
    length_items: int


class Refit(Record):
    """The last training of the winner, on the data of all splits, before it is saved.

    Attributes:
        candidate, seed, learning_rate: of the run whose model would be saved otherwise.
        steps: after which it ends, those of the weights of that run that count; more data does not make it longer.
        schedule: of the learning rate, that of the run.
        problem: the reason why there is none, or "".
    """

    candidate: str
    seed: int
    learning_rate: float
    steps: int
    schedule: Knots
    problem: str = ""


class TaskPlan(Record):
    """The plan of one task. ``strides``, ``rounds``, ``legs`` and ``final`` are decided while it runs.

    All steps in it are those of the slowest candidate; others may take more for each (``strides``).
    """

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
    """Rungs that every candidate tries first; see :mod:`anyformer.compare.plan.learning_rate_search`."""
    trials: dict[str, Trials] = Field(default_factory=dict)
    """Trials by candidate, filled in during the search."""
    share: float = 1.0
    """Share of a time budget, relative to the other tasks."""
    split_items: dict[str, int]
    """Samples in the validation and in the test split."""
    once: float | None = None
    """Steps in which the training data is seen once; None if it is generated without end."""
    by_default: bool = False
    """True if the candidates are those that are compared where nobody names any."""
    longer: list[float] = Field(default_factory=list)
    """Test lengths beyond the trained one, as multiples of it."""
    wanted: int = 0
    """Number of parameters for which the sizes are solved."""
    tables: int = 0
    """Those among them in tables of the data's values, whose width is the same in all candidates."""
    target_parameters: int | None = None
    data: Fingerprint = Field(default_factory=Fingerprint)
    strides: dict[str, float] = Field(default_factory=dict)
    """Steps of a candidate for each of the plan, at least 1; see :mod:`anyformer.compare.plan.equal_time`. Empty where
    all take as many."""
    rounds: Rounds | None = None
    legs: list[Leg] = Field(default_factory=list)
    stopped: dict[str, EarlyStop] = Field(default_factory=dict)
    """Candidates that could no longer win, and were not trained to the end."""
    trained: int = 0
    """Steps of the full runs before the last ``--more``; 0 without one."""
    final: Final | None = None
    refits: bool = False
    """True if the winner is to be trained on all data before it is saved."""
    refit: Refit | None = None
    """That training, decided once the winner is known."""
    remarks: list[str] = Field(default_factory=list)

    @property
    def goes_on_from(self) -> int:
        """End of the last leg before the learning rate fell. Longer runs share all steps up to there."""
        return max((leg.steps for leg in self.legs if leg.steps <= top(self.legs[-1].schedule)), default=0)

    def steps_of(self, name: str, steps: int) -> int:
        """Return a candidate's own number of steps at a step of the plan."""
        return math.floor(self.strides.get(name, 1.0) * steps)

    def legs_of(self, name: str) -> list[Leg]:
        """Return the legs in a candidate's own steps."""
        return [leg.times(self.strides.get(name, 1.0)) for leg in self.legs]

    def candidate(self, name: str) -> PlannedCandidate:
        """Return a candidate by its name."""
        return next(c for c in self.candidates if c.name == name)

    @property
    def code(self) -> list[str]:
        """Python files that it names, as ``file.py:Name``."""
        return named_files([self.source, self.options, [[c.asked, c.spec] for c in self.candidates]])

    @property
    def buildable(self) -> list[PlannedCandidate]:
        """Candidates that can be built, and are not left out."""
        return [c for c in self.candidates if not c.problem and not c.slow]


class More(Record):
    """A further budget for a finished comparison.

    Attributes:
        budget: as the user gave it.
        since: seconds spent on the comparison before.
        kept: name of the file with the results before.
    """

    budget: str
    since: float
    kept: str


class Plan(Record):
    """All decisions of a comparison, kept in ``plan.json``."""

    version: int = VERSION
    created: str
    command: str = ""
    budget: str
    hold: Literal["parameters", "flops"]
    equal: Literal["budget", "steps"] = "budget"
    seeds: list[int]
    workers: int
    threads: int
    storage: str | None = None
    """URL of the storage with its secrets masked; None for the database in the folder."""
    batch_size: int | None = None
    """Batch size that the user asked for; None for the default of each task."""
    max_latency: str | None = None
    max_bytes: str | None = None
    """Limits on candidates that can win, as the user gave them; see :mod:`anyformer.compare.plan.limits`."""
    tasks: list[TaskPlan]
    more: list[More] = Field(default_factory=list)
    search_cut: bool = False
    """True if the search for learning rates was cut short for lack of time."""
    busy: str = ""
    """A sentence about other programs that slowed the comparison down, or ""."""
    closing: float = CLOSING_SECONDS
    """Seconds set aside for the results and the report; more on a busy machine."""
    measuring: float | None = None
    """Seconds for measuring the costs of one candidate, decided after the training."""

    @property
    def granted(self) -> Budget:
        """Budget that is being spent: the last further one, or else the first."""
        return Budget.parse(self.more[-1].budget if self.more else self.budget)

    @property
    def slowness(self) -> float:
        """Factor by which a busy machine slowed down the start; 1 on an idle machine."""
        return self.closing / CLOSING_SECONDS

    @property
    def since(self) -> float:
        """Seconds spent on the comparison before the present budget began."""
        return self.more[-1].since if self.more else 0.0

    @property
    def budgets(self) -> str:
        """All budgets in words."""
        return ", then ".join([self.budget, *(f"{more.budget} more" for more in self.more)])

    def task(self, name: str) -> TaskPlan:
        """Return the plan of a task by its name."""
        return next(t for t in self.tasks if t.name == name)

    def save(self, folder: Path) -> None:
        """Write it to ``plan.json`` in ``folder``, in one step."""
        write_atomically(folder / "plan.json", self.model_dump_json(indent=1))

    @classmethod
    def load(cls, folder: Path, *, trust_code: bool = False) -> Plan:
        """Read the plan in ``folder``.

        Raises:
            ValueError: if there is none, it is damaged or of another version, or it names Python files to run and
                ``trust_code`` is false.
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
        """Python files that it names, as ``file.py:Name``."""
        return list(dict.fromkeys(name for task in self.tasks for name in task.code))

    @property
    def measure_seconds(self) -> float:
        """Seconds planned for measuring the costs of one candidate."""
        budget = Budget.parse(self.budget)
        everyone = sum(len(task.buildable) for task in self.tasks) or 1
        if budget.kind != "seconds":
            return 4.0
        return min(10.0, max(0.4, MEASURE_SHARE * budget.amount / everyone))


class Calibration(Record):
    """Speeds measured on one candidate: seconds of a training step and of an evaluated batch."""

    step_seconds: float
    eval_seconds: float
    untrained: float | None = None
    """Validation score before the first step."""
