"""``compare``: one call from data and candidates to a verdict."""

from __future__ import annotations

import inspect
import os
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from rich.console import Console

from anyformer.compare import session
from anyformer.compare.plan.allocation import check_start
from anyformer.compare.plan.budget import Budget
from anyformer.compare.plan.make import make_plan, open_task
from anyformer.compare.plan.names import Model, named_models
from anyformer.compare.plan.request import check_request, threads_for
from anyformer.compare.plan.schema import Plan
from anyformer.compare.plan.storage_url import STORAGE_VARIABLE, full_url, masked
from anyformer.compare.resumption import continue_comparison
from anyformer.compare.run.executor import TrainingExecutor
from anyformer.compare.run.pool import coordinating, join
from anyformer.compare.run.spawn import refuse_while_importing
from anyformer.compare.session import Comparison, Start, command_line, now
from anyformer.machine import available_cores
from anyformer.processes import start_server
from anyformer.spelling import option
from anyformer.tasks import Task
from anyformer.tasks.memory import IN_MEMORY, Memory, on_disk
from anyformer.terminal import new_console
from anyformer.train.logs import Log

DEFAULT_TASKS: tuple[tuple[str, dict[str, Any], float], ...] = (
    ("recall", {"vocab_size": 8, "num_pairs": 3, "length": 16}, 0.65),
    ("bytes", {"length": 32, "max_bytes": 1_000_000}, 0.35),
)
"""Tasks that are compared by default: name, options, and share of the budget."""
DEFAULT_BUDGET = "100s"


def compare(
    task: Task | str | os.PathLike[str] | Memory | None = None,
    models: str | Sequence[Model] | Mapping[str, Model] | None = None,
    *,
    budget: str | float | None = None,
    out: str | os.PathLike[str] | None = None,
    target: str | list[str] | None = None,
    metric: str | list[str] | None = None,
    options: Mapping[str, Any] | None = None,
    hold: str = "parameters",
    equal: str = "budget",
    parameters: int | None = None,
    batch_size: int | None = None,
    seeds: int = 3,
    workers: int | None = None,
    refit: bool = True,
    max_latency: str | float | None = None,
    max_bytes: str | float | None = None,
    storage: str | None = None,
    resume: bool = False,
    more: str | float | None = None,
    accept_changed_data: bool = False,
    trust_code: bool = False,
    log: Log | None = None,
    quiet: bool = False,
) -> Comparison:
    """Train candidates on equal terms, and give a verdict on which one to use.

    All get the same batches in the same order, the same time, or number of steps, the same search for a learning rate
    and the same seeds; their widths are solved so that their sizes match. A candidate that fails does not stop the
    others. The folder ``out`` gets ``report.html``, ``results.json`` and the winner, and everything needed to continue
    after an interruption.

    Args:
        task: a task's name, a path to data, a task, or data in memory, which is written into the folder: a pandas
            DataFrame, arrays ``(x, y)``, as those of an ``.npz`` file, or a ``Dataset`` of such pairs.
            Left out: recall and real bytes.
        models: candidates: names, specs (one line, dict, YAML file), ``file.py:Mixer``; a mapping names them;
            by default those of the kind of data.
        budget: time for everything (``"60s"``, ``"10m"``, ``"2h"``), or of each run ``"500 steps"``, ``"1M tokens"``.
        out: folder for the results; by default named after the task and the time.
        target: the column to predict, for data in columns.
        metric: metric to rank by, out of :func:`anyformer.metrics.list_metrics`; by default the task's own. Of several,
            as a list or between commas, the others are measured besides.
        options: further options of the task.
        hold: the measure of size that is equal for all candidates, ``"parameters"`` or ``"flops"``.
        equal: what training has equal. ``"budget"``: of a budget of time all get the same, so that fast ones take more
            steps; one that can no longer win is stopped, marked on the leaderboard, and its time goes to the others.
            ``"steps"``: all are trained for the same steps.
        parameters: the size to match; chosen from the budget when left out.
        batch_size: sequences in a training step; chosen from the length when left out.
        seeds: training runs of each candidate, at least 3.
        workers: processes at work at the same time; one for each core when left out.
        refit: train the winner once more before it is saved, on the data of all splits; the time for that is part of
            the budget. Its score is that of the runs before.
        max_latency: the longest time of an answer, on this machine, of a candidate that can win: ``"5ms"`` or 5, of a
            token where one is told after another, else of a sample; ``"5ms/token"`` and ``"20ms/sample"`` say which.
        max_bytes: the most bytes of its saved weights, ``"2MB"``, or of its state while streaming, ``"64KiB/state"``.
        storage: an Optuna storage URL, for work on several machines that share the folder ``out``; by default the
            value of the environment variable ``ANYFORMER_STORAGE``. Its secrets are never written to disk.
        resume: continue the comparison in ``out``.
        more: a further budget for the finished comparison in ``out``. Every run is trained further, from where its
            learning rate began to fall, as if it had been planned so long; earlier results stay as ``results-1.json``
            and ``report-1.html``. If it is stopped, ``resume`` continues it.
        accept_changed_data: if the data of a resumed comparison has changed, start anew what depends on it; by
            default that is an error.
        trust_code: run the Python files (``file.py:Mixer``) that are named by specs in YAML, or by the plan of a
            resumed comparison. Files named in ``models`` always run.
        log: takes the curves of the full runs while they are trained, as a function of a step and of values by name, as
            ``{"mamba/seed 0/train/loss": 0.7}``: for a file or another library (:mod:`anyformer.train.logs`).
        quiet: print nothing.

    Raises:
        ValueError: for wrong arguments or data, in one line.
        MachineFault: for a fault of the machine, such as a full disk; finished work is safe, and can be resumed.
    """
    given = dict(locals())
    if isinstance(task, IN_MEMORY):
        if resume or more is not None:
            _refuse_beside_a_plan(given)
        with on_disk(task, _new_folder(out) or _default_folder(["data"])) as path:
            return compare(**{**given, "task": path, "out": path.parent})
    refuse_while_importing()
    console, start = new_console(quiet=quiet), now()
    start_server()
    if metric is not None:
        options = {**(options or {}), "metric": metric}
    if resume or more is not None:
        return _go_on(given, console, start)
    if accept_changed_data:
        raise ValueError("accept_changed_data is for a comparison that is resumed, with resume=True")

    storage = storage or os.environ.get(STORAGE_VARIABLE) or None
    budget = (DEFAULT_BUDGET if task is None else "60s") if budget is None else budget
    request = check_request(
        budget=budget,
        hold=hold,
        equal=equal,
        seeds=seeds,
        workers=workers,
        parameters=parameters,
        batch_size=batch_size,
        refit=refit,
        max_latency=max_latency,
        max_bytes=max_bytes,
    )
    named = None if models is None else named_models(models, trust_code=trust_code)
    folder = _new_folder(out)
    if task is None and (target is not None or options):
        raise ValueError("target, metric and options belong to a task or to data, and none was given")
    sources = [(task, dict(options or {}), 1.0)] if task is not None else DEFAULT_TASKS
    opened = [open_task(source, target, settings) for source, settings, _ in sources]
    candidates = named or named_models(opened[0][0].candidates)
    folder = folder or _default_folder([made.name for made, *_ in opened])
    for line in [f"{made.name}: {note}" for made, *_ in opened for note in made.notes()]:
        console.print(line)
    plan = make_plan(
        request, opened, candidates, command=masked(command_line()), storage=storage, trust_code=trust_code
    )
    if named is None:
        _say_why(plan, candidates, opened[0][0].why, console)
    for planned, (_, _, share) in zip(plan.tasks, sources, strict=True):
        planned.share = share
    return _begin(plan, folder, [made for made, *_ in opened], console, start, storage, log)


def _go_on(given: Mapping[str, Any], console: Console, start: Start) -> Comparison:
    """Continue the comparison in a folder, or train it for longer; ``given`` are the arguments of :func:`compare`."""
    more, out, task = given["more"], given["out"], given["task"]
    if more is not None:
        more = f"{more:g}s" if isinstance(more, (int, float)) else more
        Budget.parse(more, "more")
    _refuse_beside_a_plan(given)
    if out is None:
        raise ValueError(f"out must name the folder to {'resume' if given['resume'] else 'go on with'}")
    return continue_comparison(
        Path(out),
        {task.name: task} if isinstance(task, Task) else {},
        console,
        **{name: given[name] for name in ("storage", "trust_code", "accept_changed_data", "log")},
        more=more,
        start=start,
    )


def _begin(
    plan: Plan,
    folder: Path,
    tasks: Sequence[Task],
    console: Console,
    start: Start,
    storage: str | None,
    log: Log | None,
) -> Comparison:
    """Save a new plan in the folder, and carry it out."""
    plan.closing = start.closing()
    check_start(plan, start.elapsed())
    folder.mkdir(parents=True, exist_ok=True)
    plan.save(folder)
    with coordinating(folder):
        return session.carry_out(
            plan, folder, {task.name: task for task in tasks}, console, start, storage, log
        )


def _say_why(plan: Plan, candidates: Iterable[str], why: str, console: Console) -> None:
    """Print which candidates are compared by default, and why, and note it in the plan."""
    reason = f"candidates, as none are named: {', '.join(candidates)}; {why}"
    console.print(reason)
    for planned in plan.tasks:
        planned.by_default = True
        planned.remarks.append(reason)


def _refuse_beside_a_plan(given: Mapping[str, Any]) -> None:
    """Check the arguments of a comparison that is resumed, or trained for longer.

    Args:
        given: the arguments of :func:`compare`.

    Raises:
        ValueError: if one of them would have no effect, because the plan in the folder decides it.
    """
    if given["resume"] and given["more"] is not None:
        raise ValueError(
            "more is for a comparison that has finished, and resume for one that has not: give one"
        )
    mode = "resume" if given["resume"] else "more"
    takes = {"out", "storage", "trust_code", "log", "quiet", mode}
    takes |= {"accept_changed_data"} if given["resume"] else set()
    takes |= {"task"} if isinstance(given["task"], Task) else set()
    defaults = {name: p.default for name, p in inspect.signature(compare).parameters.items()}
    named = [name for name, value in given.items() if isinstance(value, IN_MEMORY) or value != defaults[name]]
    if others := [name for name in named if name not in takes]:
        raise ValueError(f"{mode} goes on with the plan in its folder: it takes no {' and no '.join(others)}")


def resume(
    out: str | os.PathLike[str],
    *,
    storage: str | None = None,
    accept_changed_data: bool = False,
    trust_code: bool = False,
    quiet: bool = False,
) -> Comparison:
    """Continue a comparison that was stopped; at most the work since its last checkpoints is lost.

    Args:
        out: its folder.
        storage: the URL with which it was begun, if that has a password; see :func:`compare`.
        accept_changed_data: start anew what depends on changed data; by default changed data is an error.
        trust_code: run the Python files that its plan names; by default they are refused.
        quiet: print nothing.

    Raises:
        ValueError: if there is no comparison in ``out``, or it is still running.
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
    """Work on this machine for a comparison that runs on another one, with a shared folder ``out`` and storage.

    Args:
        out: its folder.
        workers: processes; by default one for each core, at most 8.
        storage, trust_code: as for :func:`resume`.

    Raises:
        ValueError: if there is no comparison in ``out``.
    """
    folder = Path(out)
    plan = Plan.load(folder, trust_code=trust_code)
    url = full_url(plan.storage, storage)
    if workers is not None and workers < 1:
        raise ValueError(f"{option('workers')} must be at least 1, got {workers}")
    workers = workers or min(available_cores(), 8)
    executor = TrainingExecutor(folder, trust_code=trust_code)
    join(folder, url, executor, workers=workers, threads=threads_for(workers))


def _new_folder(out: str | os.PathLike[str] | None) -> Path | None:
    """Return the folder, if one was named.

    Raises:
        ValueError: if it is a file, or holds a comparison already.
    """
    if out is None:
        return None
    folder = Path(out)
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{option('out')} must be a folder, got the file {str(folder)!r}")
    if (folder / "plan.json").exists():
        raise ValueError(f"{str(folder)!r} already holds a comparison: resume it, or name another folder")
    return folder


def _default_folder(names: Sequence[str]) -> Path:
    stem = "-".join(Path(name).stem for name in names)
    stamp = datetime.now().strftime("%Y%m%d-%H%M%S")
    return Path(f"compare-{stem}-{stamp}")
