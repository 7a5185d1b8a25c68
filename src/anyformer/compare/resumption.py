"""Continuation of a comparison that was stopped (``--resume``), or of a finished one (``--more``)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from rich.console import Console

from anyformer.compare import session
from anyformer.compare.plan.clock import Clock
from anyformer.compare.plan.make import check_buildable, plan_again
from anyformer.compare.plan.more import grant_more
from anyformer.compare.plan.schema import Plan
from anyformer.compare.plan.storage_url import full_url
from anyformer.compare.results.finished import (
    read_finished,
    remove_finished,
)
from anyformer.compare.run.executor import task_of
from anyformer.compare.run.pool import coordinating
from anyformer.compare.session import Comparison, Start, shown
from anyformer.tasks import Task
from anyformer.tasks.fingerprint import (
    DataChanged,
    Fingerprint,
    check_files,
    check_sample,
    files_of,
    sample_of_task,
)
from anyformer.train.logs import Log


def continue_comparison(
    folder: Path,
    given: Mapping[str, Task],
    console: Console,
    *,
    storage: str | None,
    trust_code: bool,
    accept_changed_data: bool,
    more: str | None,
    start: Start,
    log: Log | None = None,
) -> Comparison:
    """Continue the comparison in a folder.

    Args:
        given: tasks that were passed as objects, by name.
        more: a further budget for a finished comparison.

    Raises:
        ValueError: if there is no comparison, or something that it needs is missing or has changed.
    """
    plan = Plan.load(folder, trust_code=trust_code)
    url = full_url(plan.storage, storage)
    if more is not None:
        with coordinating(folder):
            tasks = open_again(plan, folder, given, console, accept_changed_data=False)
            grant_more(plan, folder, more)
            return session.carry_out(plan, folder, tasks, console, start, url, log)
    done, damaged = read_finished(folder)
    if done is not None:
        console.print(f"The comparison in {folder} has finished already; nothing is changed.", soft_wrap=True)
        return shown(done, plan, folder, console)
    for path in damaged:
        console.print(f"{path} is missing or damaged: it is made again.", soft_wrap=True)
    with coordinating(folder):
        tasks = open_again(plan, folder, given, console, accept_changed_data=accept_changed_data)
        return session.carry_out(plan, folder, tasks, console, start, url, log)


def open_again(
    plan: Plan, folder: Path, given: Mapping[str, Task], console: Console, *, accept_changed_data: bool
) -> dict[str, Task]:
    """Open the tasks of a plan, and plan tasks whose data has changed anew if that is accepted.

    Raises:
        DataChanged: if the data has changed and ``accept_changed_data`` is false.
    """
    tasks: dict[str, Task] = {}
    kept = 0.0
    for number, planned in enumerate(plan.tasks):
        what = repr(planned.source or planned.name)
        files = files_of(planned.source, planned.code)
        made = given.get(planned.name) if planned.source is None else None
        try:
            check_files(what, planned.data, files)
            tasks[planned.name] = made = made or task_of(planned)
            check_sample(what, planned.data, made)
            kept += planned.share
        except DataChanged as error:
            if not accept_changed_data:
                raise DataChanged(
                    f"{error}; restore it, or start anew what depends on it with accept_changed_data=True (on the "
                    "command line, --accept-changed-data)"
                ) from None
            console.print(f"{error}: all of it is done anew.", soft_wrap=True)
            tasks[planned.name] = made = made or task_of(planned)
            data = Fingerprint(files=files, sample=sample_of_task(made))
            plan.tasks[number] = plan_again(plan, planned, made, data)
            check_buildable(plan.tasks[number])
    if kept < sum(planned.share for planned in plan.tasks):
        clock = Clock(folder)
        clock.settle(clock.before * kept / sum(planned.share for planned in plan.tasks))
        remove_finished(folder)
        plan.save(folder)
    return tasks
