"""Execution of a plan in its folder: run it, judge the scores, write the results, print them."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from rich.console import Console

from anyformer.compare.plan.allocation import closing_seconds
from anyformer.compare.plan.schema import Plan
from anyformer.compare.report.live import LiveCurves
from anyformer.compare.report.page import write_report
from anyformer.compare.report.terminal import Watcher, print_results
from anyformer.compare.results import Results, TaskResult, Verdict
from anyformer.compare.results.finished import (
    REPORT,
    RESULTS,
    SEAL,
    WINNER,
    write_seal,
)
from anyformer.compare.results.formats import how_to_use
from anyformer.compare.run.executor import TrainingExecutor
from anyformer.compare.run.machine import describe_machine
from anyformer.compare.run.scheduler import Scheduler
from anyformer.compare.run.unit import Outcome
from anyformer.compare.verdict.assemble import assemble
from anyformer.compare.verdict.diagnostics import diagnose
from anyformer.compare.verdict.stopping import find_stopped
from anyformer.compare.verdict.winner import decide_refits, save_winner
from anyformer.machine import MachineFault, machine_fault
from anyformer.processes import began
from anyformer.tasks import Task, is_path
from anyformer.tasks.mapped import mapped
from anyformer.train.logs import Log
from anyformer.train.memory import return_freed_memory

COLUMNS = "columns"
"""The folder of large arrays while a comparison runs."""


@dataclass(frozen=True)
class Comparison:
    """A finished comparison and its folder."""

    folder: Path
    results: Results

    @property
    def verdict(self) -> Verdict:
        """Verdict on the first task."""
        return self.results.tasks[0].verdict

    @property
    def report(self) -> Path:
        """Path of the HTML report."""
        return self.folder / REPORT

    @property
    def winner(self) -> Path | None:
        """Folder of the best model of the last task, for ``SequenceModel.from_pretrained``; None if there is none."""
        path = self.results.tasks[-1].saved_path
        return None if path is None else self.folder / path


@dataclass(frozen=True)
class Start:
    """Start of a comparison.

    Attributes:
        moment: in seconds of :func:`time.monotonic`.
        worked: processor seconds that this process had used by then.
    """

    moment: float
    worked: float

    def elapsed(self) -> float:
        """Return the seconds since the start."""
        return time.monotonic() - self.moment

    def closing(self) -> float:
        """Return the seconds to set aside for the end, from the wall and processor seconds used so far."""
        return closing_seconds(self.elapsed(), time.process_time() - self.worked)


_starts: list[Start] = []
"""Starts of the comparisons of this process."""


def now() -> Start:
    """Return the start: that of the process for the first comparison of a command, else the present moment."""
    first = not _starts and bool(command_line())
    _starts.append(Start(began(), 0.0) if first else Start(time.monotonic(), time.process_time()))
    return _starts[-1]


def carry_out(
    plan: Plan,
    folder: Path,
    tasks: Mapping[str, Task],
    console: Console,
    start: Start,
    storage: str | None,
    log: Log | None = None,
) -> Comparison:
    """Run a plan to its end, in a folder whose lock this process holds.

    Args:
        log: takes the curves of the full runs, see :class:`LiveCurves`.

    Raises:
        KeyboardInterrupt: after a message with the command that continues it.
        MachineFault: for a fault of the machine; the message says how to continue.
    """
    try:
        return shown(_run(plan, folder, tasks, console, start, storage, log), plan, folder, console)
    except KeyboardInterrupt:
        console.print(f"\nStopped. Continue with: {_how_to_go_on(plan, folder)}", soft_wrap=True)
        raise
    except Exception as error:
        fault = machine_fault(error, folder)
        if fault is None:
            raise
        raise MachineFault(
            f"{fault}; the comparison stopped. What is finished and the last checkpoints are safe in {folder}, and no "
            f"candidate was failed for it. When that is mended, go on with: {_how_to_go_on(plan, folder)}"
        ) from error


def _run(
    plan: Plan,
    folder: Path,
    tasks: Mapping[str, Task],
    console: Console,
    start: Start,
    storage: str | None,
    log: Log | None,
) -> Results:
    plan.closing = start.closing()
    given = {task.name: tasks[task.name] for task in plan.tasks if task.source is None}
    references = {name: [reference.name for reference in task.references()] for name, task in tasks.items()}
    files = {task.name: tasks[task.name] for task in plan.tasks if task.source and is_path(task.source)}
    return_freed_memory()  # what reading the data took
    with mapped(files, folder / COLUMNS) as columns:
        for name, kept in columns.items():
            files[name].__dict__ = vars(kept.open())  # this process lets its own arrays go, and maps them too
        with Watcher(console) as watcher:
            # the plan's files were refused before, unless they are trusted
            executor = TrainingExecutor(folder, given, columns, trust_code=True)
            curves = None if log is None else LiveCurves(log)

            def watch(scheduler: Scheduler) -> None:
                watcher(scheduler)
                if curves is not None:
                    curves(scheduler)

            stopping = {name: partial(find_stopped, task.metric.info) for name, task in tasks.items()}
            scheduler = Scheduler(plan, folder, executor, references, stopping, storage, watch, start.moment)
            found = scheduler.run()
            judged = {
                task.name: assemble(plan, task, tasks[task.name], found[task.name]) for task in plan.tasks
            }
            decide_refits(plan, judged, found, scheduler.clock.seconds)
            plan.save(folder)
            refitted = scheduler.refit()
            for task in plan.tasks:
                name = task.name
                result = judged[name]
                told = diagnose(result, plan, task, tasks[name], found[name])
                result.diagnostics, result.undiagnosed = told
        results = _finish(plan, folder, tasks, console, scheduler, judged, refitted)
        for name in columns:
            vars(files[name]).clear()  # a file that is mapped cannot be removed on all systems
    return results


def _finish(
    plan: Plan,
    folder: Path,
    tasks: Mapping[str, Task],
    console: Console,
    scheduler: Scheduler,
    judged: dict[str, TaskResult],
    refitted: dict[str, tuple[Outcome, Path]],
) -> Results:
    """Save the winners, and write the results and the report."""
    for remark in [*scheduler.remarks, *([plan.busy] if plan.busy else [])]:
        console.print(remark, soft_wrap=True)
    results = Results(
        created=plan.created,
        seconds=scheduler.seconds,
        command=plan.command,
        folder=str(folder),
        earlier=[granted.kept for granted in plan.more],
        machine=describe_machine(plan),
        tasks=list(judged.values()),
    )
    for task_plan, result in zip(plan.tasks, results.tasks, strict=True):
        inside = WINNER if len(plan.tasks) == 1 else f"{WINNER}/{task_plan.name}"
        outcomes = scheduler.found[task_plan.name]
        refit = refitted.get(task_plan.name)
        save_winner(result, task_plan, tasks[task_plan.name], outcomes, refit, folder, inside)
    scheduler.clock.settle(results.seconds)
    (folder / SEAL).unlink(missing_ok=True)
    write_report(results, folder / REPORT)
    results.save(folder / RESULTS)
    write_seal(folder)
    return results


def shown(results: Results, plan: Plan, folder: Path, console: Console) -> Comparison:
    """Print the results, and the paths of the report and the saved models."""
    print_results(results, console)
    console.print(f"\nReport: {folder / REPORT}", soft_wrap=True)
    for result in results.tasks:
        if result.saved_path is not None:
            use = how_to_use(result, str(folder / result.saved_path))
            trust = " --trust-code" if plan.code and use.startswith("anyformer") else ""
            console.print(f"Model: {folder / result.saved_path} ({result.saved})", soft_wrap=True)
            console.print(f"Use it: {use}{trust}", soft_wrap=True)
    return Comparison(folder, results)


def _how_to_go_on(plan: Plan, folder: Path) -> str:
    return f"anyformer compare --resume {folder}{' --trust-code' if plan.code else ''}"


def command_line() -> str:
    """Return the command that was typed if this process is the command line ``anyformer``, else ''."""
    program = Path(sys.argv[0]).name if sys.argv else ""
    return " ".join([program, *sys.argv[1:]]) if program.startswith("anyformer") else ""
