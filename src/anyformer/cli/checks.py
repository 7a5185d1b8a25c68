"""``anyformer check`` and ``anyformer bench``."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from rich.text import Text

from anyformer.cli.main import app, console, one_message
from anyformer.registry import nearest

if TYPE_CHECKING:
    from anyformer.laws import Result

_Job = tuple[str, str, int, list[str], bool, str]
_OP = "op:"
_WHOLE = "laws over whole models"
MARKS = {
    "holds": Text("+", "green"),
    "does not apply": Text(".", "dim"),
    "excused": Text("e", "yellow"),
}


@app.command()
@one_message
def check(
    targets: Annotated[
        list[str] | None,
        typer.Argument(help="Mixers, channel mixers or models by name, ops as op:NAME, or FILE.py:CLASS."),
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
) -> None:
    """Hold parts to the laws: a table of laws that hold (+), do not apply (.), are excused (e) or broken (X)."""
    from anyformer.laws import LAWS, MODEL_LAWS, OP_LAWS, all_targets, cases_of, model_cases, op_names

    if not targets and not every:
        raise ValueError("name what to check, or say --all")
    if targets and every:
        raise ValueError(f"--all checks every part and op: it takes no {', '.join(targets)}")
    if workers is not None and workers < 1:
        raise ValueError(f"--workers must be at least 1, got {workers}")
    _check_device(device)
    ops = [f"{_OP}{name}" for name in op_names() if device == "cpu"] if every else []
    names = [*all_targets(), *ops] if every else targets or []
    for name in names if not every else []:
        _check_op(name, device) if name.startswith(_OP) else cases_of(name, dim=dim)
    for name in law or []:
        if name not in {*LAWS, *MODEL_LAWS, *OP_LAWS}:
            raise ValueError(f"unknown law {name!r}{nearest(name, [*LAWS, *MODEL_LAWS, *OP_LAWS])}")
    start = time.perf_counter()
    found: list[Result] = []
    for kind, known, holds in (
        ("laws", LAWS, lambda name: not name.startswith(_OP)),
        (_WHOLE, MODEL_LAWS, model_cases),
        ("laws over ops", OP_LAWS, lambda name: name.startswith(_OP)),
    ):
        mine = [name for name in names if holds(name)]
        laws = [name for name in law or known if name in known]
        if mine and laws:
            count = workers or min(len(mine), os.cpu_count() or 1)
            jobs = [(kind, name, dim, laws, native, device) for name in mine]
            found += _show(kind, laws, _run(jobs, count))
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


def _check_op(name: str, device: str) -> None:
    """Raise ValueError if there is no such op, or no law over ops on that device."""
    from anyformer.laws import op_names

    known = [f"{_OP}{op}" for op in op_names()]
    if name not in known:
        raise ValueError(f"unknown op {name!r}{nearest(name, known)}")
    if device != "cpu":
        raise ValueError(f"--device must be cpu for the laws over ops ({name}), got {device}")


def _check_device(device: str) -> None:
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

    from anyformer.laws import cases_of, check_case, check_model, check_op
    from anyformer.ops import use_native

    torch.set_num_threads(1)
    kind, name, dim, law, native, device = job
    with use_native(native):
        if name.startswith(_OP):
            return check_op(name.removeprefix(_OP), law)
        if kind == _WHOLE:
            return check_model(name, law, dim=dim, device=device)
        return [r for case in cases_of(name, dim=dim, device=device) for r in check_case(case, law)]


@app.command()
@one_message
def bench(
    mixers: Annotated[
        list[str] | None, typer.Argument(help="Time only these mixers, beside attention.")
    ] = None,
    suite: Annotated[
        list[str] | None,
        typer.Option(help="Part of the benchmark; may be given several times; by default all."),
    ] = None,
    dim: Annotated[int, typer.Option(help="Width, where mixers are named.")] = 128,
    length: Annotated[
        list[int] | None, typer.Option(help="Tokens, where mixers are named; may be given several times.")
    ] = None,
    device: Annotated[str, typer.Option(help="Where: cpu or cuda.")] = "cpu",
    out: Annotated[
        Path | None,
        typer.Option(help="Write this Markdown file, with figures and plots in a folder beside it."),
    ] = None,
) -> None:
    """Measure costs on this machine, against its limits, other libraries and softmax attention (ten minutes)."""
    import torch

    from anyformer.bench import Page, bench_mixers, run_suites
    from anyformer.bench.machine import describe_machine
    from anyformer.bench.mixers import mixers_table

    for value in length or []:
        if value < 1:
            raise ValueError(f"--length must be at least 1, got {value}")
    _check_device(device)
    if mixers and suite:
        raise ValueError("name mixers or give --suite, not both")
    given = [*(mixers or []), *(f"--suite {name}" for name in suite or [])]
    command = " ".join(["anyformer bench", *given, *(["--device cuda"] if device == "cuda" else [])])
    with console.status("timing") as status:

        def progress(text: str) -> None:
            status.update(f"timing {text}")

        if mixers:
            with torch.device(device):
                timings = bench_mixers(mixers, dim=dim, lengths=length or (512, 2048), progress=progress)
                page = Page(describe_machine(), command, [mixers_table(timings, dim)])
        else:
            page = run_suites(suite, command=command, progress=progress, device=device)
    console.print(page.markdown(), soft_wrap=True)
    for problem in page.write(out) if out else []:
        console.print(problem, style="yellow")
    if page.failed:
        raise typer.Exit(1)
