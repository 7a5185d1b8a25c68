"""What is run: sizes, learning rates, and one number of steps for all candidates that fits the budget.

Everything decided is written to ``plan.json`` before it is acted on, and only once, so that a comparison that was
stopped goes on under the decisions it started with.

Under a budget of time the number of steps is solved for twice: from calibrated step times, to size the
learning-rate search; and again after the search, from the time that is really left.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Literal

from pydantic import Field, ValidationError

from anyformer.compare.remains import read_json
from anyformer.compare.results import Record
from anyformer.machine import write_atomically
from anyformer.tasks.fingerprint import Fingerprint
from anyformer.user_code import named_files, refuse_code

VERSION = 4
"""Of the format of ``plan.json``; the units of one version are never mixed with those of another."""
ROUNDS = (0.08, 0.2)
"""Steps of the two rounds of the search for a learning rate, as shares of a full run."""
USUAL_RUNS = (5, 3)
"""Runs of each round that time is set aside for; further ones make the full runs shorter."""
FEWEST_STEPS = 20
EVALUATIONS = 12
MEASURE_SHARE = 0.12
"""Share of a time budget for measuring costs."""
IMBALANCE = 1.08
"""Workers do not all finish at once; this much is left for the last ones."""
CLOSING_SECONDS = 2.0
"""For the results and the report."""

Kind = Literal["seconds", "steps", "tokens"]
UNITS: dict[str, tuple[Kind, float]] = {
    **dict.fromkeys(("s", "sec", "secs", "second", "seconds"), ("seconds", 1.0)),
    **dict.fromkeys(("m", "min", "mins", "minute", "minutes"), ("seconds", 60.0)),
    **dict.fromkeys(("h", "hour", "hours"), ("seconds", 3600.0)),
    **dict.fromkeys(("step", "steps"), ("steps", 1.0)),
    **dict.fromkeys(("token", "tokens"), ("tokens", 1.0)),
}


@dataclass(frozen=True)
class Budget:
    """Seconds for the whole comparison; or steps, or tokens, of each training run."""

    kind: Kind
    amount: float

    @classmethod
    def parse(cls, text: str | float) -> Budget:
        """A budget from ``"60s"``, ``"10m"``, ``"2h"``, ``"500 steps"``, ``"1M tokens"``; a number is seconds.

        Raises:
            ValueError: when it is none of these, or not positive.
        """
        expected = 'expected a time ("60s", "10m", "2h"), "500 steps" or "1M tokens"'
        if isinstance(text, (int, float)) and not isinstance(text, bool):
            text = f"{text}s"
        found = re.fullmatch(r"\s*([-+]?[\d_.,]*\d)\s*([kKMGB]?)\s*([a-z]+)\s*", str(text))
        if found is None or found[3] not in UNITS:
            raise ValueError(f"budget: {expected}, got {str(text)!r}")
        try:
            number = float(found[1].replace("_", "").replace(",", ""))
        except ValueError:
            raise ValueError(f"budget: {expected}, got {str(text)!r}") from None
        kind, factor = UNITS[found[3]]
        if found[2] and kind == "seconds":
            raise ValueError(f"budget: {expected}, got {str(text)!r}")
        amount = number * factor * {"": 1.0, "k": 1e3, "K": 1e3, "M": 1e6, "G": 1e9, "B": 1e9}[found[2]]
        if amount <= 0 or not math.isfinite(amount):
            raise ValueError(f"budget must be positive, got {str(text)!r}")
        if kind == "steps" and amount < 1:
            raise ValueError(f"budget must be at least one step, got {str(text)!r}")
        return cls(kind, amount)


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
    """What all candidates of a task share. ``rounds`` and ``final`` are decided on the way."""

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
    """Those that every candidate tries first; see :mod:`anyformer.compare.ladder`."""
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
    final: Final | None = None
    remarks: list[str] = Field(default_factory=list)

    def candidate(self, name: str) -> PlannedCandidate:
        return next(c for c in self.candidates if c.name == name)

    @property
    def code(self) -> list[str]:
        """The Python files that it names to run, as ``file.py:Name``."""
        return named_files([self.source, self.options, [[c.asked, c.spec] for c in self.candidates]])

    @property
    def buildable(self) -> list[PlannedCandidate]:
        return [c for c in self.candidates if not c.problem]


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
        """Time for measuring the costs of one candidate."""
        budget = Budget.parse(self.budget)
        everyone = sum(len(task.buildable) for task in self.tasks) or 1
        if budget.kind != "seconds":
            return 4.0
        return min(10.0, max(0.4, MEASURE_SHARE * budget.amount / everyone))


class Calibration(Record):
    """Measured on a few steps of one candidate: seconds of a training step and of an evaluated batch."""

    step_seconds: float
    eval_seconds: float


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


def final_for(task: TaskPlan, steps: int, eval_cost: float, *, everything: bool) -> Final:
    """How to spend evaluations around ``steps`` steps. ``eval_cost`` is an evaluated batch in steps.

    Curves take about 3% of the training time; the rest is capped so that a run stays within 1.3 times its steps,
    unless ``everything`` is to be evaluated.
    """
    valid, test = task.split_items["valid"], task.split_items["test"]
    evaluations = max(4, min(EVALUATIONS, steps // 8))

    def items(share: float, fewest: int, most: int) -> int:
        """As many samples as take this share of the training time, at least so many batches of them."""
        affordable = int(share * steps / eval_cost * task.eval_size)
        return max(1, min(most, max(fewest * task.eval_size, affordable)))

    longer = sum(task.longer) or 1.0
    return Final(
        steps=steps,
        evaluations=evaluations,
        curve_items=items(0.03 / evaluations, 1, valid),
        valid_items=valid if everything else items(0.04, 2, valid),
        test_items=test if everything else items(0.14, 8, test),
        length_items=max(1, test // 4) if everything else items(0.06 / longer, 1, test),
    )


def run_seconds(task: TaskPlan, final: Final, calibration: Calibration) -> float:
    """One full run of a candidate, evaluations included."""
    evaluated = final.evaluations * final.curve_items + final.valid_items + final.test_items
    evaluated_longer = final.length_items * sum(task.longer)
    seconds = final.steps * calibration.step_seconds + 0.1
    return seconds + (evaluated + evaluated_longer) / task.eval_size * calibration.eval_seconds


def search_seconds(task: TaskPlan, rounds: Rounds, calibration: Calibration) -> float:
    """The search of a candidate as it usually goes."""
    evaluation = rounds.valid_items / task.eval_size * calibration.eval_seconds + 0.1
    pairs = zip(USUAL_RUNS, rounds.steps, strict=True)
    return sum(runs * (steps * calibration.step_seconds + evaluation) for runs, steps in pairs)


def eval_cost(calibrations: Mapping[str, Calibration]) -> float:
    """An evaluated batch in training steps, typical of the candidates."""
    return median(c.eval_seconds / c.step_seconds for c in calibrations.values())


def rounds_for(task: TaskPlan, steps: int, cost: float) -> Rounds:
    """The search that goes with runs of ``steps`` steps."""
    first, second = (
        max(least, math.ceil(share * steps)) for least, share in zip((8, 16), ROUNDS, strict=True)
    )
    affordable = int(0.2 * first / cost * task.eval_size)
    items = min(task.split_items["valid"], max(2 * task.eval_size, affordable))
    return Rounds(steps=(first, second), valid_items=items)


def fixed_steps(budget: Budget, task: TaskPlan) -> int | None:
    """The steps that the budget says itself, or None for a budget of time.

    Raises:
        ValueError: when so many tokens are not even one step.
    """
    if budget.kind == "steps":
        return int(budget.amount)
    if budget.kind == "tokens":
        steps = int(budget.amount // task.tokens)
        if steps < 1:
            raise ValueError(
                f"budget of {budget.amount:g} tokens is less than one step of {task.tokens} tokens"
            )
        return steps
    return None


def solve_steps(
    plan: Plan,
    task: TaskPlan,
    calibrations: Mapping[str, Calibration],
    seconds: float,
    *,
    search: bool,
) -> int:
    """The most steps at which the rest of the task fits into ``seconds`` of wall-clock time."""
    cost = eval_cost(calibrations)

    def total(steps: int) -> float:
        final = final_for(task, steps, cost, everything=False)
        rounds = rounds_for(task, steps, cost)
        work = 0.0
        for calibration in calibrations.values():
            work += len(plan.seeds) * run_seconds(task, final, calibration)
            work += search_seconds(task, rounds, calibration) if search else 0.0
        return work / plan.workers * IMBALANCE

    low, high = FEWEST_STEPS, FEWEST_STEPS
    while total(high) <= seconds and high < 10**8:
        low, high = high, high * 2
    while high - low > max(1, low // 100):
        middle = (low + high) // 2
        low, high = (middle, high) if total(middle) <= seconds else (low, middle)
    return low


def time_left(plan: Plan, budget: Budget, elapsed: float) -> float:
    """What is left for training when measuring and reporting are set aside."""
    measuring = sum(len(task.buildable) for task in plan.tasks) * plan.measure_seconds
    return budget.amount - elapsed - measuring - CLOSING_SECONDS


def _portion(plan: Plan, task: TaskPlan) -> float:
    return task.share / sum(other.share for other in plan.tasks)


def decide_search(
    plan: Plan, budget: Budget, calibrations: Mapping[str, Mapping[str, Calibration]], elapsed: float
) -> None:
    """Fills in the ``rounds`` of every task."""
    for task in plan.tasks:
        known = calibrations.get(task.name)
        if task.rounds is not None or not known:
            continue
        share = time_left(plan, budget, elapsed) * _portion(plan, task)
        steps = fixed_steps(budget, task) or solve_steps(plan, task, known, share, search=True)
        task.rounds = rounds_for(task, steps, eval_cost(known))


def decide_final(
    plan: Plan, budget: Budget, calibrations: Mapping[str, Mapping[str, Calibration]], elapsed: float
) -> None:
    """Fills in the ``final`` of every task, from what is left of the budget."""
    for task in plan.tasks:
        known = calibrations.get(task.name)
        if task.final is not None or not known:
            continue
        share = time_left(plan, budget, elapsed) * _portion(plan, task)
        fixed = fixed_steps(budget, task)
        steps = fixed or solve_steps(plan, task, known, share, search=False)
        task.final = final_for(task, steps, eval_cost(known), everything=fixed is not None)
        if fixed is None and steps == FEWEST_STEPS:
            task.remarks.append(
                f"The budget of {plan.budget} is too short for these candidates: "
                f"each was trained for only {steps} steps."
            )


def eval_steps(steps: int, evaluations: int) -> Sequence[int]:
    """The steps behind which the validation split is looked at; the last step is one of them."""
    return sorted({max(1, round(steps * (i + 1) / evaluations)) for i in range(evaluations)})
