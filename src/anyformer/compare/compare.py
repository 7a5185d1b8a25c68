"""``compare``: one call from data and candidates to a verdict."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from rich.console import Console

from anyformer.compare.plan.allocation import check_start, closing_seconds
from anyformer.compare.plan.more import grant_more
from anyformer.compare.plan.prepare import (
    Model,
    check_buildable,
    check_request,
    describe_machine,
    make_plan,
    named_models,
    open_task,
    plan_again,
)
from anyformer.compare.plan.schema import Budget, Plan
from anyformer.compare.plan.storage_url import STORAGE_VARIABLE, full_url, masked
from anyformer.compare.report.terminal import Watcher, print_results
from anyformer.compare.results import Results, Verdict
from anyformer.compare.results.finished import REPORT, WINNER, read_ending, remove_ending, write_ending
from anyformer.compare.run.executor import TrainingLab, task_of
from anyformer.compare.run.pool import Clock, coordinating, join
from anyformer.compare.run.scheduler import Conductor
from anyformer.compare.run.spawn import refuse_while_importing
from anyformer.compare.verdict.assemble import assemble, save_winner
from anyformer.machine import MachineFault, machine_fault
from anyformer.processes import began, start_server
from anyformer.tasks import Task
from anyformer.tasks.fingerprint import (
    DataChanged,
    Fingerprint,
    check_files,
    check_sample,
    files_of,
    sample_of_task,
)
from anyformer.terminal import new_console

DEFAULT_TASKS: tuple[tuple[str, dict[str, Any], float], ...] = (
    ("recall", {"vocab_size": 16, "num_pairs": 4, "length": 24}, 0.65),
    ("bytes", {"length": 32, "max_bytes": 1_000_000}, 0.35),
)
"""What is compared when nothing is asked: the task, its options, and its share of the budget."""
DEFAULT_BUDGET = "100s"


@dataclass(frozen=True)
class Comparison:
    """A finished comparison and the folder that it lies in."""

    folder: Path
    results: Results

    @property
    def verdict(self) -> Verdict:
        """The verdict on the first task."""
        return self.results.tasks[0].verdict

    @property
    def report(self) -> Path:
        """The HTML report."""
        return self.folder / REPORT

    @property
    def winner(self) -> Path | None:
        """The folder of the best model of the last task, for ``SequenceModel.from_pretrained``."""
        path = self.results.tasks[-1].saved_path
        return None if path is None else self.folder / path


def compare(
    task: Task | str | os.PathLike[str] | None = None,
    models: str | Sequence[Model] | Mapping[str, Model] | None = None,
    *,
    budget: str | float | None = None,
    out: str | os.PathLike[str] | None = None,
    target: str | list[str] | None = None,
    options: Mapping[str, Any] | None = None,
    hold: str = "parameters",
    parameters: int | None = None,
    batch_size: int | None = None,
    seeds: int = 3,
    workers: int | None = None,
    storage: str | None = None,
    resume: bool = False,
    more: str | float | None = None,
    accept_changed_data: bool = False,
    trust_code: bool = False,
    quiet: bool = False,
) -> Comparison:
    """Trains the candidates on equal terms and says which to use.

    All get the same batches in the same order, the same number of steps, the same search for a learning rate and
    the same seeds; their widths are solved so that they match. What may go wrong with one candidate does not stop
    the others. The folder ``out`` gets ``report.html``, ``results.json`` and the winner, and everything needed to
    continue after an interruption.

    Args:
        task: a task's name, a path to data, or a task; generated recall and real bytes when left out.
        models: candidates: names, specs (one line, dict, YAML file), ``file.py:Mixer``; a mapping names them.
        budget: time for everything (``"60s"``, ``"10m"``, ``"2h"``), or of each run ``"500 steps"``, ``"1M tokens"``.
        out: the folder for what comes out; made up from the task and the time when left out.
        target: the column to predict, for data in columns.
        options: further options of the task.
        hold: what is equal between candidates, ``"parameters"`` or ``"flops"``.
        parameters: the size to match; chosen from the budget when left out.
        batch_size: sequences in a training step; chosen from the length when left out.
        seeds: training runs of each candidate, at least 3.
        workers: processes at work at the same time; one for each core when left out.
        storage: an Optuna storage URL, for work on several machines that share the folder ``out``; by default what
            the environment variable ``ANYFORMER_STORAGE`` holds. Its secrets are written nowhere.
        resume: continue the comparison in ``out``.
        more: go on with the finished comparison in ``out``, for so much longer: a budget like the first. Every run is
            trained further, from where its learning rate began to fall, as if it had been planned so long; what was
            found before stays as ``results-1.json`` and ``report-1.html``. Stopped, it goes on with ``resume``.
        accept_changed_data: where the data of the comparison that is resumed is not what it was, start anew what
            depends on it; without it, that is refused.
        trust_code: run the Python files (``file.py:Mixer``) that specs in YAML, or the plan of the comparison that is
            resumed, name. Those in ``models`` are yours and always run.
        quiet: print nothing.

    Raises:
        ValueError: for anything wrong with the arguments or the data, in one line.
        MachineFault: the disk is full or broken, or the like; what is done is safe, and it can be resumed.
    """
    refuse_while_importing()
    console, start = new_console(quiet=quiet), _now()
    start_server()
    if more is not None:
        _refuse_with_more(task, models, budget, target, options, resume=resume)
        more = f"{more:g}s" if isinstance(more, (int, float)) else more
        Budget.parse(more)
    if resume or more is not None:
        if out is None:
            raise ValueError(f"out must name the folder to {'resume' if resume else 'go on with'}")
        given = {task.name: task} if isinstance(task, Task) else {}
        return _continue(
            Path(out),
            given,
            console,
            storage=storage,
            trust_code=trust_code,
            accept_changed_data=accept_changed_data,
            more=more,
            start=start,
        )
    if accept_changed_data:
        raise ValueError("accept_changed_data is for a comparison that is resumed, with resume=True")
    storage = storage or os.environ.get(STORAGE_VARIABLE) or None
    budget = (DEFAULT_BUDGET if task is None else "60s") if budget is None else budget
    request = check_request(
        budget=budget, hold=hold, seeds=seeds, workers=workers, parameters=parameters, batch_size=batch_size
    )
    candidates = named_models(models, trust_code=trust_code)
    folder = _new_folder(out)
    if task is None and (target is not None or options):
        raise ValueError("target and options belong to a task or to data, and none was given")
    sources = [(task, dict(options or {}), 1.0)] if task is not None else DEFAULT_TASKS
    opened = [open_task(source, target, settings) for source, settings, _ in sources]

    folder = folder or _default_folder([made.name for made, *_ in opened])
    for made, *_ in opened:
        for note in made.notes():
            console.print(f"{made.name}: {note}")
    plan = make_plan(
        request, opened, candidates, command=masked(_command()), storage=storage, trust_code=trust_code
    )
    for planned, (_, _, share) in zip(plan.tasks, sources, strict=True):
        planned.share = share
    plan.closing = start.closing()
    check_start(plan, start.elapsed())
    folder.mkdir(parents=True, exist_ok=True)
    plan.save(folder)
    tasks = {made.name: made for made, *_ in opened}
    with coordinating(folder):
        return _conduct(plan, folder, tasks, console, start, storage)


@dataclass(frozen=True)
class _Start:
    """When a comparison began, and the processor time that this process had used by then."""

    moment: float
    worked: float

    def elapsed(self) -> float:
        return time.monotonic() - self.moment

    def closing(self) -> float:
        """Seconds that the end is going to take, by how much longer than it worked the start has taken."""
        return closing_seconds(self.elapsed(), time.process_time() - self.worked)


def _now() -> _Start:
    """The start: of the process, where the command is all that it does."""
    return _Start(began(), 0.0) if _command() else _Start(time.monotonic(), time.process_time())


def _refuse_with_more(task: object, *others: object, resume: bool) -> None:
    """
    Raises:
        ValueError: when there is anything besides the folder.
    """
    if resume:
        raise ValueError(
            "more is for a comparison that has finished, and resume for one that has not: give one"
        )
    if any(other is not None for other in others) or not (task is None or isinstance(task, Task)):
        raise ValueError(
            "more goes on with the plan in its folder: it takes no task, models, target, options or budget"
        )


def resume(
    out: str | os.PathLike[str],
    *,
    storage: str | None = None,
    accept_changed_data: bool = False,
    trust_code: bool = False,
    quiet: bool = False,
) -> Comparison:
    """Continues a comparison that was stopped, and loses at most the work since its last checkpoints.

    Args:
        out: its folder.
        storage: the URL that it was begun with, where that held a password; see :func:`compare`.
        accept_changed_data: start anew what depends on data that is not what it was; without it, that is refused.
        trust_code: run the Python files that its plan names; without it they are refused.
        quiet: print nothing.

    Raises:
        ValueError: when there is none in ``out``, or when it is still running.
    """
    return compare(
        out=out,
        storage=storage,
        resume=True,
        accept_changed_data=accept_changed_data,
        trust_code=trust_code,
        quiet=quiet,
    )


def help_out(
    out: str | os.PathLike[str],
    *,
    workers: int | None = None,
    storage: str | None = None,
    trust_code: bool = False,
) -> None:
    """Lends this machine to a comparison that runs on another one, with the same ``out`` and shared storage.

    Args:
        out: its folder.
        workers: processes; by default one a core, 8 at most.
        storage, trust_code: as for :func:`resume`.

    Raises:
        ValueError: when there is no comparison in ``out``.
    """
    from anyformer.compare.plan.prepare import available_cores, threads_for

    folder = Path(out)
    plan = Plan.load(folder, trust_code=trust_code)
    url = full_url(plan.storage, storage)
    workers = workers or min(available_cores(), 8)
    lab = TrainingLab(folder, trust_code=trust_code)
    join(folder, url, lab, workers=workers, threads=threads_for(workers))


def _continue(
    folder: Path,
    given: Mapping[str, Task],
    console: Console,
    *,
    storage: str | None,
    trust_code: bool,
    accept_changed_data: bool,
    more: str | None,
    start: _Start,
) -> Comparison:
    plan = Plan.load(folder, trust_code=trust_code)
    url = full_url(plan.storage, storage)
    if more is not None:
        with coordinating(folder):
            tasks = _open_again(plan, folder, given, console, accept_changed_data=False)
            grant_more(plan, folder, more)
            return _conduct(plan, folder, tasks, console, start, url)
    done, damaged = read_ending(folder)
    if done is not None:
        console.print(f"The comparison in {folder} has finished already; nothing is changed.", soft_wrap=True)
        return _shown(done, folder, console)
    for path in damaged:
        console.print(f"{path} is missing or damaged: it is made again.", soft_wrap=True)
    with coordinating(folder):
        tasks = _open_again(plan, folder, given, console, accept_changed_data=accept_changed_data)
        return _conduct(plan, folder, tasks, console, start, url)


def _open_again(
    plan: Plan, folder: Path, given: Mapping[str, Task], console: Console, *, accept_changed_data: bool
) -> dict[str, Task]:
    """The tasks of a plan, whose data must be what it was; where it need not, what depends on it is planned anew.

    Raises:
        DataChanged: the data is not what it was, and ``accept_changed_data`` is false.
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
        remove_ending(folder)
        plan.save(folder)
    return tasks


def _conduct(
    plan: Plan,
    folder: Path,
    tasks: Mapping[str, Task],
    console: Console,
    start: _Start,
    storage: str | None,
) -> Comparison:
    """Runs a plan to its end, in a folder that this process holds; what stops it says how to go on."""
    try:
        return _shown(_run(plan, folder, tasks, console, start, storage), folder, console)
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
    start: _Start,
    storage: str | None,
) -> Results:
    plan.closing = start.closing()
    given = {task.name: tasks[task.name] for task in plan.tasks if task.source is None}
    references = {name: [reference.name for reference in task.references()] for name, task in tasks.items()}
    with Watcher(console) as watcher:
        # whoever may not run its files did not come here
        lab = TrainingLab(folder, given, trust_code=True)
        conductor = Conductor(plan, folder, lab, references, storage, watcher, start.moment)
        found = conductor.run()
    for remark in [*conductor.remarks, *([plan.busy] if plan.busy else [])]:
        console.print(remark, soft_wrap=True)
    results = Results(
        created=plan.created,
        seconds=conductor.seconds,
        command=plan.command,
        folder=str(folder),
        earlier=[granted.kept for granted in plan.more],
        machine=describe_machine(plan),
        tasks=[assemble(plan, task, tasks[task.name], found[task.name]) for task in plan.tasks],
    )
    for task_plan, result in zip(plan.tasks, results.tasks, strict=True):
        inside = WINNER if len(plan.tasks) == 1 else f"{WINNER}/{task_plan.name}"
        save_winner(result, task_plan, tasks[task_plan.name], found[task_plan.name], folder, inside)
    conductor.clock.settle(results.seconds)
    write_ending(results, folder)
    return results


def _shown(results: Results, folder: Path, console: Console) -> Comparison:
    print_results(results, console)
    console.print(f"\nReport: {folder / REPORT}", soft_wrap=True)
    return Comparison(folder, results)


def _how_to_go_on(plan: Plan, folder: Path) -> str:
    return f"anyformer compare --resume {folder}{' --trust-code' if plan.code else ''}"


def _new_folder(out: str | os.PathLike[str] | None) -> Path | None:
    """The folder, if one was named.

    Raises:
        ValueError: when it is a file, or holds a comparison already.
    """
    if out is None:
        return None
    folder = Path(out)
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"out must be a folder, got the file {str(folder)!r}")
    if (folder / "plan.json").exists():
        raise ValueError(f"{str(folder)!r} already holds a comparison: resume it, or name another folder")
    return folder


def _default_folder(names: Sequence[str]) -> Path:
    stem = "-".join(Path(name).stem for name in names)
    stamp = datetime.now().strftime("%Y%m%d-%H%M%S")
    return Path(f"compare-{stem}-{stamp}")


def _command() -> str:
    program = Path(sys.argv[0]).name if sys.argv else ""
    return " ".join([program, *sys.argv[1:]]) if program.startswith("anyformer") else ""
