"""Runs of the laws over tasks."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path

from anyformer.laws.case import LawBroken
from anyformer.laws.registry import TASK_LAWS
from anyformer.laws.run import Result, run_law
from anyformer.laws.tasks.cases import TaskCase
from anyformer.tasks import Task


def check_task(
    make: Callable[[], Task],
    path: str | os.PathLike[str] | None = None,
    *,
    changed: Callable[[], Task] | None = None,
    only: Iterable[str] | None = None,
) -> list[Result]:
    """Hold a task to the laws over tasks.

    >>> check_task(lambda: create_task("shop.log", "sold"), "shop.log")

    Args:
        make: makes the task, anew at each call.
        path: the file or folder that it is made from; the laws on new data then read it again.
        changed: makes the task from the same data with other values, of the same lengths, in the test part only, to
            show that nothing is fitted to that.
        only: names of the laws to run; by default all.

    Raises:
        LawBroken: a law is broken; the message names each of them.
        ValueError: for an unknown law.
    """
    name = make().name
    results = run_task_laws(
        TaskCase(f"data:{name}", make, None if path is None else Path(path), changed), only
    )
    if bad := [r for r in results if not r.good]:
        raise LawBroken("\n".join(f"{r.case}: {r.law} ({r.outcome}): {r.detail}" for r in bad))
    return results


def run_task_laws(case: TaskCase, only: Iterable[str] | None = None) -> list[Result]:
    """Run all laws over tasks, or those named in ``only``, on one of them; ``ValueError`` for an unknown law."""
    return [run_law(law, case, case.label) for law in TASK_LAWS.chosen(only)]
