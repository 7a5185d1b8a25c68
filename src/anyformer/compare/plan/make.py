"""Making a plan from the user's request. Everything that can be refused is refused here, before any work."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import torch

from anyformer.compare.plan.defaults import (
    TOKENS_A_PARAMETER,
    default_batch_size,
    default_eval_size,
    default_parameters,
    run_seconds,
)
from anyformer.compare.plan.learning_rate_search import start_for
from anyformer.compare.plan.names import Model
from anyformer.compare.plan.request import Hold, Request
from anyformer.compare.plan.schema import Plan, TaskPlan
from anyformer.compare.plan.sizes import (
    common_size,
    flops_at,
    plan_candidate,
    smallest_fair_size,
    stated_size,
    with_tables,
)
from anyformer.compare.plan.storage_url import masked
from anyformer.models import ModelSpec
from anyformer.tasks import Task, create_task, is_path
from anyformer.tasks.fingerprint import Fingerprint, files_of, sample_of_task
from anyformer.tasks.memory import source_of
from anyformer.tasks.readers import absolute_options
from anyformer.train.models import spec_for


class OpenedTask(NamedTuple):
    """A task and the arguments that make it again; ``source`` is None for a task that was passed as an object."""

    task: Task
    source: str | None
    target: str | list[str] | None
    options: dict[str, Any]


def make_plan(
    request: Request,
    tasks: Sequence[OpenedTask],
    models: Mapping[str, Model],
    *,
    command: str = "",
    storage: str | None = None,
    trust_code: bool = False,
) -> Plan:
    """Make the plan.

    Args:
        request: arguments that do not depend on the task.
        tasks: the tasks.
        models: candidates, by name.
        command: the command line, for the report.
        storage: URL of the Optuna storage.
        trust_code: run Python files that specs name.

    Raises:
        ValueError: if no candidate of a task can be built.
    """
    plan = Plan(
        created=datetime.now().strftime("%Y-%m-%d %H:%M"),
        command=command,
        budget=request.budget_text,
        hold=request.hold,
        equal=request.equal,
        seeds=list(range(request.seeds)),
        workers=request.workers,
        threads=request.threads,
        storage=None if storage is None else masked(storage),
        batch_size=request.batch_size,
        max_latency=request.max_latency,
        max_bytes=request.max_bytes,
        tasks=[],
    )
    runs = len(models) * request.seeds * len(tasks)
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
        request.budget.steps(plan.tasks[-1].tokens)
    for planned in plan.tasks:
        check_buildable(planned)
    return plan


def check_buildable(planned: TaskPlan) -> None:
    """Check that some candidate of a task can be built.

    Raises:
        ValueError: if none can; the message has the problem of each.
    """
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
    specs = {name: spec_for(task, given, trust_code=trust_code) for name, given in models.items()}
    seconds, accelerated = run_seconds(request.budget, request.workers, runs), torch.cuda.is_available()
    elements = None if task.endless else task.train_elements
    suits = default_parameters(seconds, elements, accelerated=accelerated)
    tokens = None if seconds is None else TOKENS_A_PARAMETER * suits
    batch_size = task.batch_size or request.batch_size or default_batch_size(task.sample_length, tokens)
    wanted, tables = request.parameters or stated_size(task, models, specs), 0
    if wanted is None:
        wanted = suits
        specs, tables = with_tables(task, specs, wanted)
        wanted = wanted + tables if tables else max(wanted, smallest_fair_size(task))
        wanted = common_size(task, specs.values(), wanted, tables)
    givens = {name: str(given) for name, given in models.items()}
    made = _plan_at_size(task, specs, givens, wanted, tables, hold=request.hold, batch_size=batch_size)
    made.source, made.target, made.options = source, target, options
    made.refits = request.refit and not task.endless
    made.data = Fingerprint(files=files_of(source, made.code), sample=sample_of_task(task))
    return made


def plan_again(plan: Plan, planned: TaskPlan, task: Task, data: Fingerprint) -> TaskPlan:
    """Make the plan of a task on changed data: candidates of the same size, and no decision made yet."""
    specs = {c.name: ModelSpec.model_validate(c.asked) for c in planned.candidates}
    givens = {c.name: c.given for c in planned.candidates}
    batch_size = task.batch_size or plan.batch_size or planned.batch_size
    made = _plan_at_size(
        task, specs, givens, planned.wanted, planned.tables, hold=plan.hold, batch_size=batch_size
    )
    kept = {"source", "target", "options", "share", "name", "refits"}
    return made.model_copy(update={**planned.model_dump(include=kept), "data": data})


def _plan_at_size(
    task: Task,
    specs: Mapping[str, ModelSpec],
    givens: Mapping[str, str],
    wanted: int,
    tables: int,
    *,
    hold: Hold,
    batch_size: int,
) -> TaskPlan:
    goal = flops_at(task, specs, wanted) if hold == "flops" else None
    return TaskPlan(
        name=task.name,
        source=None,
        candidates=[
            plan_candidate(task, name, givens[name], spec, wanted, goal, tables)
            for name, spec in specs.items()
        ],
        batch_size=batch_size,
        tokens=batch_size * task.sample_length,
        eval_size=default_eval_size(batch_size, task.size("test")),
        learning_rates=start_for(wanted - tables),
        split_items={split: task.size(split) for split in ("valid", "test")},
        once=None if task.endless else task.size("train") / batch_size,
        longer=[length / task.train_length for length in task.lengths],
        wanted=wanted,
        tables=tables,
        target_parameters=wanted if hold == "parameters" else None,
    )


def open_task(
    task: Task | str | os.PathLike[str], target: str | list[str] | None, options: dict[str, Any]
) -> OpenedTask:
    """Open a task, and keep the arguments that make it again.

    Raises:
        ValueError: for a target or options beside a task that is an object, or if it cannot be opened.
    """
    if isinstance(task, Task):
        if target is not None or options:
            raise ValueError(
                "target, metric and options are for data and task names, not for a task that is already made"
            )
        return OpenedTask(task, None, None, {})
    source = source_of(task)
    made = create_task(source, target=target, **options)
    if not is_path(source):
        return OpenedTask(made, source, target, options)
    return OpenedTask(made, os.path.abspath(source), target, absolute_options(source, options))
