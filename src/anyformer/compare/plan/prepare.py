"""From what the user asked for to a plan; everything that can be refused is refused here, before any work."""

from __future__ import annotations

import math
import os
import platform
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import torch

from anyformer.compare.plan.allocation import fixed_steps
from anyformer.compare.plan.learning_rate_search import start_for
from anyformer.compare.plan.schema import (
    Budget,
    Plan,
    PlannedCandidate,
    TaskPlan,
    default_batch_size,
    default_eval_size,
    default_parameters,
)
from anyformer.compare.plan.storage_url import masked
from anyformer.compare.results import Machine
from anyformer.compare.run.costs import flops_per_token
from anyformer.compare.run.worker import explain
from anyformer.mixers import preset
from anyformer.models import ModelSpec, load_spec, match_parameters
from anyformer.models.size import count_parameters, nearest_size
from anyformer.tasks import Task, create_task, is_path
from anyformer.tasks.fingerprint import Fingerprint, files_of, sample_of_task
from anyformer.train import model_for
from anyformer.train.models import io_for

Model = ModelSpec | Mapping[str, Any] | str | Path
Hold = Literal["parameters", "flops"]

DEFAULT_MODELS = ("transformer", "mamba depth=2", "retnet", "delta_net")
PRESET = "preset:"
FEWEST_SEEDS = 3
TOLERANCE = 0.02


@dataclass(frozen=True)
class Request:
    """What the user asked for, checked."""

    budget: Budget
    budget_text: str
    hold: Hold
    seeds: int
    workers: int
    threads: int
    parameters: int | None
    batch_size: int | None


def check_request(
    *,
    budget: str | float,
    hold: str,
    seeds: int,
    workers: int | None,
    parameters: int | None,
    batch_size: int | None,
) -> Request:
    """The arguments that do not depend on the task.

    Raises:
        ValueError: naming the argument, what was expected and what came.
    """
    parsed = Budget.parse(budget)
    if hold not in ("parameters", "flops"):
        raise ValueError(f"hold must be 'parameters' or 'flops', got {hold!r}")
    if seeds < FEWEST_SEEDS:
        raise ValueError(
            f"seeds must be at least {FEWEST_SEEDS}, or nothing can be said about chance; got {seeds}"
        )
    cores = available_cores()
    if workers is None:
        workers = 1 if torch.cuda.is_available() else min(cores, 8)
    for name, value in (("workers", workers), ("parameters", parameters), ("batch_size", batch_size)):
        if value is not None and value < 1:
            raise ValueError(f"{name} must be at least 1, got {value}")
    text = f"{budget:g}s" if isinstance(budget, (int, float)) else str(budget)
    return Request(parsed, text, hold, seeds, workers, threads_for(workers), parameters, batch_size)  # type: ignore[arg-type]


def threads_for(workers: int) -> int:
    """Of each worker: its share of the cores, or what ``OMP_NUM_THREADS`` allows, if that is less."""
    return max(1, min(available_cores() // workers, torch.get_num_threads()))


def available_cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def make_plan(
    request: Request,
    tasks: Sequence[tuple[Task, str | None, str | list[str] | None, dict[str, Any]]],
    models: Mapping[str, Model],
    *,
    command: str = "",
    storage: str | None = None,
    trust_code: bool = False,
) -> Plan:
    """The plan for tasks given with their sources, targets and options.

    Raises:
        ValueError: when no candidate can be built.
    """
    plan = Plan(
        created=datetime.now().strftime("%Y-%m-%d %H:%M"),
        command=command,
        budget=request.budget_text,
        hold=request.hold,
        seeds=list(range(request.seeds)),
        workers=request.workers,
        threads=request.threads,
        storage=None if storage is None else masked(storage),
        batch_size=request.batch_size,
        tasks=[],
    )
    runs = len(models) * (request.seeds + 1) * len(tasks)
    for task, source, target, options in tasks:
        plan.tasks.append(
            _plan_task(
                request,
                task,
                models,
                runs,
                source=source,
                target=target,
                options=options,
                trust_code=trust_code,
            )
        )
        fixed_steps(request.budget, plan.tasks[-1])
    for planned in plan.tasks:
        check_buildable(planned)
    return plan


def check_buildable(planned: TaskPlan) -> None:
    """Raises ValueError when no candidate of the task can be built, with the problem of each."""
    if not planned.buildable:
        problems = "; ".join(f"{c.name}: {c.problem}" for c in planned.candidates)
        raise ValueError(f"no candidate can do task {planned.name!r}: {problems}")


def _plan_task(
    request: Request,
    task: Task,
    models: Mapping[str, Model],
    runs: int,
    *,
    source: str | None,
    target: str | list[str] | None,
    options: dict[str, Any],
    trust_code: bool,
) -> TaskPlan:
    specs = {name: load_spec(given, trust_code=trust_code) for name, given in models.items()}
    wanted = request.parameters or _stated_size(task, models, specs)
    if wanted is None:
        tokens = (request.batch_size or default_batch_size(task.train_length)) * task.train_length
        speed_up = torch.cuda.is_available()
        wanted = default_parameters(request.budget, runs, tokens, accelerated=speed_up)
        wanted = _common_size(task, specs.values(), max(wanted, _smallest_fair_size(task)))
    givens = {name: str(given) for name, given in models.items()}
    made = _plan_at_size(task, specs, givens, wanted, hold=request.hold, batch_size=request.batch_size)
    made.source, made.target, made.options = source, target, options
    made.data = Fingerprint(files=files_of(source, made.code), sample=sample_of_task(task))
    return made


def plan_again(plan: Plan, planned: TaskPlan, task: Task, data: Fingerprint) -> TaskPlan:
    """The plan of the same task on other data: candidates of the same size, and every decision to be made anew."""
    specs = {c.name: ModelSpec.model_validate(c.asked) for c in planned.candidates}
    givens = {c.name: c.given for c in planned.candidates}
    made = _plan_at_size(task, specs, givens, planned.wanted, hold=plan.hold, batch_size=plan.batch_size)
    kept = {"source", "target", "options", "share", "name"}
    return made.model_copy(update={**planned.model_dump(include=kept), "data": data})


def _plan_at_size(
    task: Task,
    specs: Mapping[str, ModelSpec],
    givens: Mapping[str, str],
    wanted: int,
    *,
    hold: Hold,
    batch_size: int | None,
) -> TaskPlan:
    batch_size = batch_size or default_batch_size(task.train_length)
    goal = _flops_of(task, specs, wanted) if hold == "flops" else None
    return TaskPlan(
        name=task.name,
        source=None,
        candidates=[
            plan_candidate(task, name, givens[name], spec, wanted, goal) for name, spec in specs.items()
        ],
        batch_size=batch_size,
        tokens=batch_size * task.train_length,
        eval_size=default_eval_size(batch_size, task.size("test")),
        learning_rates=start_for(wanted),
        split_items={split: task.size(split) for split in ("valid", "test")},
        longer=[length / task.train_length for length in task.lengths],
        wanted=wanted,
        target_parameters=wanted if hold == "parameters" else None,
    )


def _stated_size(task: Task, models: Mapping[str, Model], specs: Mapping[str, ModelSpec]) -> int | None:
    """The size of the first candidate whose width the user wrote down, if there is one."""
    for name, given in models.items():
        stated = isinstance(given, ModelSpec) or "dim" in given if isinstance(given, Mapping) else False
        if isinstance(given, (str, Path)):
            stated = bool(re.search(r"\bdim\s*=", str(given))) or str(given).endswith((".yaml", ".yml"))
        if stated or isinstance(given, ModelSpec):
            try:
                return count_parameters(specs[name], **io_for(task))
            except ValueError:
                continue
    return None


def _common_size(task: Task, specs: Iterable[ModelSpec], wanted: int) -> int:
    """A size near the wanted one that the candidate of the coarsest widths has exactly.

    The others, whose widths lie closer together, can then be matched to it.
    """
    size, farthest = wanted, TOLERANCE / 2
    for spec in specs:
        try:
            found = count_parameters(
                nearest_size(spec, wanted, tolerance=farthest, **io_for(task)), **io_for(task)
            )
        except ValueError:
            continue  # it cannot be built at all, which is said where it is planned
        away = abs(found / wanted - 1)
        if farthest < away < 0.5:
            size, farthest = found, away
    return size


def _smallest_fair_size(task: Task) -> int:
    """Enough for the embedding and the head to be the smaller part of a model."""
    rows = (task.vocab_size or 0) + task.objective.num_outputs
    return 2 * 32 * rows


def plan_candidate(
    task: Task, name: str, given: str, spec: ModelSpec, wanted: int, flops: float | None
) -> PlannedCandidate:
    """The candidate at its solved width; what prevents it is kept as its problem."""
    try:
        if flops is None:
            sized = match_parameters(spec, wanted, tolerance=TOLERANCE, **io_for(task))
        else:
            sized = _match_flops(task, spec, wanted, flops)
        model = model_for(task, sized)
    except Exception as error:
        problem = str(error) if isinstance(error, ValueError) else explain(error)[1]
        return PlannedCandidate(
            name=name, given=given, asked=spec.model_dump(), problem=" ".join(problem.split())
        )
    return PlannedCandidate(
        name=name,
        given=given,
        asked=spec.model_dump(),
        spec=sized.model_dump(),
        parameters=model.num_parameters(),
        width=sized.dim,
    )


def _flops(task: Task, spec: ModelSpec) -> float:
    return flops_per_token(model_for(task, spec), task.train_batch(0, 1).x)


def _flops_of(task: Task, specs: Mapping[str, ModelSpec], wanted: int) -> float:
    """The FLOPs of the first candidate that can be built at the wanted size."""
    problems = []
    for name, spec in specs.items():
        try:
            return _flops(task, match_parameters(spec, wanted, tolerance=0.1, **io_for(task)))
        except ValueError as error:
            problems.append(f"{name}: {error}")
    raise ValueError(f"no candidate can do task {task.name!r}: {'; '.join(problems)}")


def _match_flops(task: Task, spec: ModelSpec, start: int, goal: float) -> ModelSpec:
    """The width at which a token costs ``goal`` FLOPs: bisection over the number of parameters."""
    low, high = start / 30, start * 30.0
    best: tuple[float, ModelSpec] | None = None
    for _ in range(14):
        middle = math.sqrt(low * high)
        try:
            sized = match_parameters(spec, int(middle), tolerance=0.3, **io_for(task))
        except ValueError:
            low = middle
            continue
        cost = _flops(task, sized)
        away = abs(cost / goal - 1)
        if best is None or away < best[0]:
            best = (away, sized)
        if away <= TOLERANCE / 2:
            break
        low, high = (middle, high) if cost < goal else (low, middle)
    if best is not None and best[0] > TOLERANCE:
        best = min(best, _fit_hidden(task, best[1], goal), key=lambda found: found[0])
    if best is None or best[0] > TOLERANCE:
        nearest = "" if best is None else f"; the nearest, dim={best[1].dim}, is {best[0]:.0%} away"
        raise ValueError(f"no width comes within {TOLERANCE:.0%} of {goal:,.0f} FLOPs a token{nearest}")
    return best[1]


def _fit_hidden(task: Task, spec: ModelSpec, goal: float) -> tuple[float, ModelSpec]:
    """The spec with the hidden width of its channel mixer fitted: FLOPs are linear in it."""
    if spec.channel is None or "hidden_dim" not in spec.channel.options:
        return math.inf, spec
    channel = spec.channel

    def at(hidden: int) -> ModelSpec:
        options = {**channel.options, "hidden_dim": hidden}
        return spec.model_copy(update={"channel": channel.model_copy(update={"options": options})})

    hidden = channel.options["hidden_dim"]
    here, there = _flops(task, spec), _flops(task, at(hidden + 8))
    fitted = at(max(1, hidden + round(8 * (goal - here) / (there - here))))
    return abs(_flops(task, fitted) / goal - 1), fitted


def named_models(
    models: str | Sequence[Model] | Mapping[str, Model] | None, *, trust_code: bool = False
) -> dict[str, Model]:
    """Candidates by the names they go under; their specs are readable, or a ValueError says why not."""
    if models is None:
        models = DEFAULT_MODELS
    if isinstance(models, str):
        models = split_models(models)
    pairs = list(models.items()) if isinstance(models, Mapping) else [("", given) for given in models]
    if not pairs:
        raise ValueError("models must name at least one candidate, got none")
    named: dict[str, Model] = {}
    for name, given in [pair for one in pairs for pair in _expanded(*one)]:
        load_spec(given, trust_code=trust_code)  # says what is wrong with it
        base = name or _short_name(given)
        name, number = base, 1
        while name in named:
            number += 1
            name = f"{base} ({number})"
        named[name] = given
    return named


def _expanded(name: str, given: Model) -> list[tuple[str, Model]]:
    """A candidate, or those that a ``preset:...`` stands for."""
    if not (isinstance(given, str) and given.startswith(PRESET)):
        return [(name, given)]
    return list(preset(given.removeprefix(PRESET)).items())


def _short_name(given: Model) -> str:
    if isinstance(given, (str, Path)) and str(given).endswith((".yaml", ".yml")):
        return Path(given).stem
    if isinstance(given, Mapping):
        text = str(given["model"]) if "model" in given else str(load_spec(given))
    else:
        text = str(given)
    text = re.sub(r"[^\[\](),\s]*\.py:", "", text)
    return text if len(text) <= 30 else text[:29].rstrip(" ,") + "…"


def split_models(text: str) -> list[str]:
    """Splits at commas outside of brackets: ``"mamba, [attention, mamba]*2"`` has two parts."""
    parts, depth = [""], 0
    for character in text:
        depth += (character in "[(") - (character in "])")
        if character == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    parts = [part.strip() for part in parts]
    if not all(parts):
        raise ValueError(f"models must be names or specs between commas, got {text!r}")
    return parts


def open_task(
    task: Task | str | os.PathLike[str], target: str | list[str] | None, options: dict[str, Any]
) -> tuple[Task, str | None, str | list[str] | None, dict[str, Any]]:
    """The task with its source, by which it can be made again; None for one that came as an object."""
    if isinstance(task, Task):
        if target is not None or options:
            raise ValueError(
                "target and options are for data and task names, not for a task that is already made"
            )
        return task, None, None, {}
    source = os.fspath(task)
    made = create_task(source, target=target, **options)
    return made, os.path.abspath(source) if is_path(source) else source, target, options


def describe_machine(plan: Plan) -> Machine:
    """Where this runs."""
    import anyformer

    cuda = torch.cuda.is_available()
    return Machine(
        system=f"{platform.system()} {platform.release()}",
        processor=_processor(),
        cores=available_cores(),
        workers=plan.workers,
        threads=plan.threads,
        device=torch.cuda.get_device_name() if cuda else "CPU",
        python=platform.python_version(),
        versions={"anyformer": anyformer.__version__, "torch": torch.__version__},
    )


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        found = re.search(r"model name\s*:\s*(.+)", info.read_text(encoding="utf-8", errors="replace"))
        if found:
            return found[1].strip()
    return platform.processor() or platform.machine()
