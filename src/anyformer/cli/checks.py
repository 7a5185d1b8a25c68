"""``anyformer check``."""

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
    from anyformer.testing import Result

_Job = tuple[str, int, list[str] | None, bool, str]
MARKS = {
    "holds": Text("+", "green"),
    "does not apply": Text(".", "dim"),
    "excused": Text("e", "yellow"),
}


@app.command()
@one_message
def check(
    targets: Annotated[
        list[str] | None, typer.Argument(help="Mixers, channel mixers or models by name, or FILE.py:CLASS.")
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Every registered part and model.")] = False,
    law: Annotated[list[str] | None, typer.Option(help="Only this law; may be given several times.")] = None,
    dim: Annotated[int, typer.Option(help="Width to build with.")] = 16,
    workers: Annotated[int | None, typer.Option(help="Processes; by default one a core.")] = None,
    native: Annotated[
        bool, typer.Option(help="With the native CPU kernels, or their pure PyTorch forms.")
    ] = True,
    device: Annotated[str, typer.Option(help="Where: cpu or cuda.")] = "cpu",
) -> None:
    """Hold mixers to the laws: a table of laws that hold (+), do not apply (.), are excused (e) or broken (X)."""
    from anyformer.testing import LAWS, all_targets, cases_of

    if not targets and not every:
        raise ValueError("name what to check, or say --all")
    names = all_targets() if every else targets or []
    _check_device(device)
    for name in names if not every else []:
        cases_of(name, dim=dim)
    for name in law or []:
        if name not in LAWS:
            raise ValueError(f"unknown law {name!r}{nearest(name, list(LAWS))}")
    start = time.perf_counter()
    count = workers or min(len(names), os.cpu_count() or 1)
    laws = law or list(LAWS)
    table = Table(title="laws", title_justify="left", pad_edge=False, collapse_padding=True)
    table.add_column("case", overflow="fold", min_width=24)
    for name in laws:
        table.add_column("\n".join(name[:4]), justify="center")
    bad, excused = [], []
    for results in _run([(name, dim, law, native, device) for name in names], count):
        for case in dict.fromkeys(r.case for r in results):
            row = [r for r in results if r.case == case]
            table.add_row(case, *(MARKS.get(r.outcome, Text("X", "bold red")) for r in row))
            bad += [r for r in row if not r.good]
            excused += [r for r in row if r.outcome == "excused"]
    console.print(table)
    console.print("columns: " + ", ".join(laws), style="dim")
    for r in excused:
        console.print(f"excused  {r.case}: {r.law}: {r.detail}")
    for r in bad:
        console.print(f"BROKEN   {r.case}: {r.law} ({r.outcome}): {r.detail}")
    console.print(f"{len(table.rows)} cases, {len(bad)} broken, {time.perf_counter() - start:.0f} s")
    if bad:
        raise typer.Exit(1)


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

    from anyformer.ops import use_native
    from anyformer.testing import cases_of, check_case

    torch.set_num_threads(1)
    name, dim, law, native, device = job
    with use_native(native):
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
    """What things cost on this machine: against its limits, other libraries, and softmax attention (ten minutes)."""
    import torch

    from anyformer.testing.bench import Page, bench_mixers, run_suites
    from anyformer.testing.bench.machine import describe_machine
    from anyformer.testing.bench.mixers import mixers_table

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
