"""Tasks: data as batches, with a metric, leak-free splits, and predictors to be beaten."""

from __future__ import annotations

import os
from importlib import import_module
from pathlib import Path
from typing import Any

from anyformer.errors import DataError
from anyformer.metrics import Metric
from anyformer.registry import Registry, modules_in
from anyformer.spelling import option
from anyformer.tasks.base import Reference, Split, Task, TaskMaker, call_with_options, check_integer
from anyformer.tasks.batch import Batch
from anyformer.tasks.evaluation import Evaluation, evaluate, evaluate_beside
from anyformer.tasks.references import score_reference

__all__ = [
    "Batch",
    "DataError",
    "Evaluation",
    "Metric",
    "Reference",
    "Split",
    "Task",
    "create_task",
    "evaluate",
    "evaluate_beside",
    "is_path",
    "list_tasks",
    "open_data",
    "register_task",
    "score_reference",
    "tasks",
]

MANIFEST = {
    "bytes": "anyformer.tasks.text",
    **modules_in(f"{__name__}.generated", [os.path.join(folder, "generated") for folder in __path__]),
}

tasks: Registry[TaskMaker] = Registry("task", MANIFEST)
register_task = tasks.register


def list_tasks() -> list[str]:
    """Return the ids of the built-in and registered tasks, sorted."""
    return tasks.ids()


def is_path(name_or_path: str) -> bool:
    """True if this is an existing path, and no task's name."""
    return name_or_path not in tasks and ".py:" not in name_or_path and os.path.exists(name_or_path)


def create_task(
    name_or_path: str | os.PathLike[str],
    *,
    target: str | list[str] | None = None,
    metric: str | list[str] | None = None,
    seed: int = 0,
    **options: Any,
) -> Task:
    """Return the task of that name, or the task made from the data at that path.

    Args:
        name_or_path: one of :func:`list_tasks`, ``file.py:Name`` for a task of your own, or a file or folder
            (see :func:`open_data`). A name comes first; write ``./bytes`` for a folder called ``bytes``.
        target: the column to predict. For data only.
        metric: what to rank by, one of :func:`anyformer.metrics.list_metrics`; by default the task's own. Of several,
            as a list or between commas, the first ranks and the others are measured besides.
        seed: fixes the generated data, the split, and the order of training.
        options: further arguments of the task or of :func:`open_data`.

    Raises:
        DataError: the data cannot be used; a ``ValueError`` with one sentence.
        ValueError: neither a task nor a path, or an option that the task does not have.
    """
    name = os.fspath(name_or_path)
    if not name.strip():
        raise ValueError("name_or_path must be the name of a task or a path, got an empty one")
    check_integer("seed", seed, low=0)
    if name in tasks or ".py:" in name:
        if target is not None:
            raise ValueError(f"target is for data files; the task {name!r} has none, got target={target!r}")
        made = call_with_options(f"task {name!r}", tasks.get(name).target, {"seed": seed, **options})
        return _ranked(made, metric)
    if not Path(name).exists() and not Path(name).suffix and Path(name).name == name:
        tasks.get(name)  # raises, with the nearest names
    return _ranked(_open(name, target, seed, options), metric)


def open_data(
    path: str | os.PathLike[str],
    target: str | list[str] | None = None,
    *,
    metric: str | list[str] | None = None,
    seed: int = 0,
    **options: Any,
) -> Task:
    """Return the task made from a file or a folder; see :mod:`anyformer.tasks.readers` for the rules."""
    return _ranked(_open(path, target, seed, options), metric)


def _ranked(task: Task, metric: str | list[str] | None) -> Task:
    if metric is not None:
        names = metric.split(",") if isinstance(metric, str) else metric
        if not names or not all(isinstance(name, str) and name.strip() for name in names):
            raise ValueError(f"{option('metric')} must name a metric, or several, got {metric!r}")
        task.rank_by(*(name.strip() for name in names))
    return task


def _open(
    path: str | os.PathLike[str], target: str | list[str] | None, seed: int, options: dict[str, Any]
) -> Task:
    readers = import_module("anyformer.tasks.readers")
    readers.check_options(path, options)
    task: Task = readers.open_path(path, target, seed=seed, **options)
    return task
