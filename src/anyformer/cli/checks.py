"""``anyformer check``."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from anyformer.cli.main import DataCommand, app, console, one_message, task_of
from anyformer.registry import nearest
from anyformer.user_code import MARK

if TYPE_CHECKING:
    from anyformer.laws import Laws, Result
    from anyformer.laws.tasks import TaskCase

MARKS = {
    "holds": Text("+", "green"),
    "does not apply": Text(".", "dim"),
    "excused": Text("e", "yellow"),
}


@dataclass(frozen=True)
class _Job:
    """A target to be held to the laws of one kind.

    ``options`` are those of data, of which ``target`` is one.
    """

    kind: str
    name: str
    laws: list[str]
    dim: int
    native: bool
    device: str
    options: dict[str, Any]


@app.command(cls=DataCommand)
@one_message
def check(
    targets: Annotated[
        list[str] | None,
        typer.Argument(
            help="Mixers, channel mixers or models by name, others as op:NAME, embed:NAME, head:NAME, data:PATH, or "
            "FILE.py:CLASS."
        ),
    ] = None,
    every: Annotated[
        bool, typer.Option("--all", help="Every registered part and model, and every op.")
    ] = False,
    law: Annotated[list[str] | None, typer.Option(help="Only this law; may be given several times.")] = None,
    dim: Annotated[int, typer.Option(help="Width to build with.")] = 16,
    workers: Annotated[int | None, typer.Option(help="Processes; by default one a core.")] = None,
    native: Annotated[
        bool, typer.Option(help="With the native CPU kernels, or their pure PyTorch forms.")
    ] = True,
    device: Annotated[str, typer.Option(help="Where: cpu or cuda.")] = "cpu",
    target: Annotated[str | None, typer.Option(help="Of data:PATH, the column to predict.")] = None,
    option: Annotated[
        list[str] | None, typer.Option(help="Of data:PATH, name=value; may be given several times.")
    ] = None,
) -> None:
    """Hold parts to the laws: a table of laws that hold (+), do not apply (.), are excused (e) or broken (X)."""
    kinds = law_kinds()
    if not targets and not every:
        raise ValueError("name what to check, or say --all")
    if targets and every:
        raise ValueError(f"--all checks every part and op: it takes no {', '.join(targets)}")
    if workers is not None and workers < 1:
        raise ValueError(f"--workers must be at least 1, got {workers}")
    check_device(device)
    names = _all_names(device) if every else targets or []
    options = _options_of_data(names, target, option)
    places = {name: _kinds_of(name, dim, device) for name in names}
    for name in names:
        if DATA in places[name]:
            _task_case(name, options).make()  # a mistake in the options is one sentence
    known = [one for kind in kinds.values() for one in kind]
    for name in law or []:
        if name not in known:
            raise ValueError(f"unknown law {name!r}{nearest(name, known)}")
    start = time.perf_counter()
    found: list[Result] = []
    for kind, all_laws in kinds.items():
        mine = [name for name in names if kind in places[name]]
        laws = [name for name in law or all_laws if name in all_laws]
        if mine and laws:
            jobs = [_Job(kind, name, laws, dim, native, device, options) for name in mine]
            found += _show(kind, laws, _run(jobs, workers or min(len(mine), os.cpu_count() or 1)))
    if not found:
        raise ValueError(f"--law {', '.join(law or [])} is for none of {', '.join(names)}")
    bad = [r for r in found if not r.good]
    for r in found:
        if r.outcome == "excused":
            console.print(f"excused  {r.case}: {r.law}: {r.detail}")
    for r in bad:
        console.print(f"BROKEN   {r.case}: {r.law} ({r.outcome}): {r.detail}")
    cases = len({r.case for r in found})
    console.print(f"{cases} cases, {len(bad)} broken, {time.perf_counter() - start:.0f} s")
    if bad:
        raise typer.Exit(1)


PARTS, WHOLE, OPS = "laws", "laws over whole models", "laws over ops"
EMBEDDERS, HEADS, DATA = "laws over embedders", "laws over heads", "laws over data"
PREFIXES = {"op": OPS, "embed": EMBEDDERS, "head": HEADS, "data": DATA}
"""Kinds of laws by what stands before the colon."""


def law_kinds() -> dict[str, Laws[Any]]:
    """Return the laws by their kind."""
    from anyformer.laws import EMBEDDER_LAWS, HEAD_LAWS, LAWS, MODEL_LAWS, OP_LAWS, TASK_LAWS

    laws = (LAWS, MODEL_LAWS, OP_LAWS, EMBEDDER_LAWS, HEAD_LAWS, TASK_LAWS)
    return dict(zip((PARTS, WHOLE, OPS, EMBEDDERS, HEADS, DATA), laws))


def _all_names(device: str) -> list[str]:
    """Return everything that is checked on a device: parts and models, and on a CPU ops, embedders and heads."""
    from anyformer.embed import list_embedders
    from anyformer.heads import list_heads
    from anyformer.laws import all_targets, op_names

    here = {"op": op_names, "embed": list_embedders, "head": list_heads} if device == "cpu" else {}
    return [*all_targets(), *(f"{prefix}:{name}" for prefix, names in here.items() for name in names())]


def _kinds_of(name: str, dim: int, device: str) -> list[str]:
    """Return the kinds of laws that a target is held to.

    Raises:
        ValueError: there is no such target, or no law over its kind on that device.
    """
    from anyformer.laws import cases_of, model_cases

    prefix, _, rest = name.partition(":")
    kind = PREFIXES.get(prefix) or _kind_of_class(name)
    if kind is None:
        cases_of(name, dim=dim)
        return [PARTS, WHOLE] if model_cases(name) else [PARTS]
    if device != "cpu":
        raise ValueError(f"--device must be cpu for the {kind} ({name}), got {device}")
    _check_name(kind, rest if prefix in PREFIXES else name, dim)
    return [kind]


def _kind_of_class(name: str) -> str | None:
    """Return the kind of laws for the embedder, head or task that a file holds (``mine.py:Name``); None for others."""
    from anyformer.embed import Embedder
    from anyformer.heads import Head
    from anyformer.mixers import mixers
    from anyformer.tasks import Task

    if MARK not in name:
        return None
    found = mixers.get(name).target
    kinds = {Embedder: EMBEDDERS, Head: HEADS, Task: DATA}
    held = [kind for base, kind in kinds.items() if isinstance(found, type) and issubclass(found, base)]
    return held[0] if held else None


def _check_name(kind: str, name: str, dim: int) -> None:
    """Raise ``ValueError`` if there is no such target of a kind; data is read later."""
    from anyformer.laws import op_names
    from anyformer.laws.embedders import embedder_cases
    from anyformer.laws.heads import head_cases

    if kind == OPS and name not in op_names():
        raise ValueError(f"unknown op {name!r}{nearest(f'op:{name}', [f'op:{one}' for one in op_names()])}")
    if kind == EMBEDDERS:
        embedder_cases(name, dim=dim)
    if kind == HEADS:
        head_cases(name, dim=dim)


def _task_case(name: str, options: dict[str, Any]) -> TaskCase:
    """Return the case of data:PATH, data:TASK or mine.py:Task."""
    from anyformer.laws.tasks import TaskCase
    from anyformer.tasks import create_task

    source = name.removeprefix("data:")
    path = Path(source) if Path(source).exists() else None
    return TaskCase(name, partial(create_task, source, **options), path)


def _options_of_data(names: list[str], target: str | None, pairs: list[str] | None) -> dict[str, Any]:
    """Return the options of the data under test, ``target`` included."""
    data = [name.removeprefix("data:") for name in names if name.startswith("data:")]
    if not data and (target or pairs):
        raise ValueError("--target and options of data are for data:PATH, and none is checked")
    if len(data) > 1:
        raise ValueError(f"one data:PATH at a time can be checked, got {', '.join(data)}")
    found, options = task_of(data[0] if data else None, target, None, pairs)
    return options if found is None else {**options, "target": found}


def _show(title: str, laws: list[str], found: Iterator[list[Result]]) -> list[Result]:
    """Print the results as a table, and return them."""
    table = Table(title=title, title_justify="left", pad_edge=False, collapse_padding=True)
    table.add_column("case", overflow="fold", min_width=24)
    for name in laws:
        table.add_column("\n".join(name[:4]), justify="center")
    every: list[Result] = []
    for results in found:
        every += results
        for case in dict.fromkeys(r.case for r in results):
            marks = (MARKS.get(r.outcome, Text("X", "bold red")) for r in results if r.case == case)
            table.add_row(case, *marks)
    console.print(table)
    console.print("columns: " + ", ".join(laws), style="dim")
    return every


def check_device(device: str) -> None:
    """Raise ``ValueError`` unless ``--device`` names one that is here."""
    import torch

    if device not in ("cpu", "cuda"):
        raise ValueError(f"--device must be cpu or cuda, got {device}")
    if device == "cuda" and not torch.cuda.is_available():
        raise ValueError("--device cuda: PyTorch finds no such device here")


def _run(jobs: list[_Job], workers: int) -> Iterator[list[Result]]:
    if workers <= 1:
        yield from map(_one, jobs)
        return
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        yield from pool.map(_one, jobs)


def _one(job: _Job) -> list[Result]:
    import torch

    from anyformer.ops import use_native

    torch.set_num_threads(1)
    with use_native(job.native):
        return _results(job)


def _results(job: _Job) -> list[Result]:
    from anyformer import laws
    from anyformer.laws.tasks.run import run_task_laws

    name = job.name.partition(":")[2] if job.name.partition(":")[0] in PREFIXES else job.name
    if job.kind == OPS:
        return laws.check_op(name, job.laws)
    if job.kind == EMBEDDERS:
        return laws.check_embedder(name, job.laws, dim=job.dim)
    if job.kind == HEADS:
        return laws.check_head(name, job.laws, dim=job.dim)
    if job.kind == WHOLE:
        return laws.check_model(job.name, job.laws, dim=job.dim, device=job.device)
    if job.kind == DATA:
        return run_task_laws(_task_case(job.name, job.options), job.laws)
    cases = laws.cases_of(job.name, dim=job.dim, device=job.device)
    return [r for case in cases for r in laws.check_case(case, job.laws)]
