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

from anyformer.cli.main import app, console, one_message
from anyformer.registry import nearest

if TYPE_CHECKING:
    from anyformer.testing import Result

MARKS = {"holds": "[green]+[/]", "does not apply": "[dim].[/]", "excused": "[yellow]e[/]"}


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
) -> None:
    """Hold mixers to the laws: a table of laws that hold (+), do not apply (.), are excused (e) or broken (X)."""
    from anyformer.testing import LAWS, all_targets, cases_of

    if not targets and not every:
        raise ValueError("name what to check, or say --all")
    names = all_targets() if every else targets or []
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
    for results in _run(names, dim, law, count):
        for case in dict.fromkeys(r.case for r in results):
            row = [r for r in results if r.case == case]
            table.add_row(case, *(MARKS.get(r.outcome, "[bold red]X[/]") for r in row))
            bad += [r for r in row if not r.good]
            excused += [r for r in row if r.outcome == "excused"]
    console.print(table)
    console.print("columns: " + ", ".join(laws), style="dim")
    for r in excused:
        console.print(f"excused  {r.case}: {r.law}: {r.detail}", markup=False, highlight=False)
    for r in bad:
        console.print(f"BROKEN   {r.case}: {r.law} ({r.outcome}): {r.detail}", markup=False, highlight=False)
    console.print(f"{len(table.rows)} cases, {len(bad)} broken, {time.perf_counter() - start:.0f} s")
    if bad:
        raise typer.Exit(1)


def _run(names: list[str], dim: int, law: list[str] | None, workers: int) -> Iterator[list[Result]]:
    jobs = [(name, dim, law) for name in names]
    if workers <= 1:
        yield from map(_one, jobs)
        return
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        yield from pool.map(_one, jobs)


def _one(job: tuple[str, int, list[str] | None]) -> list[Result]:
    import torch

    from anyformer.testing import cases_of, check_case

    torch.set_num_threads(1)
    name, dim, law = job
    return [r for case in cases_of(name, dim=dim) for r in check_case(case, law)]


@app.command()
@one_message
def bench(
    names: Annotated[list[str] | None, typer.Argument(help="Mixers; by default every causal one.")] = None,
    dim: Annotated[int, typer.Option(help="Width.")] = 128,
    length: Annotated[list[int] | None, typer.Option(help="Tokens; may be given several times.")] = None,
    repeats: Annotated[int, typer.Option(help="Timed runs of each.")] = 7,
    out: Annotated[Path | None, typer.Option(help="Write the table to this Markdown file.")] = None,
) -> None:
    """What mixers cost on this machine, as ratios to softmax attention in the same run."""
    from anyformer.testing.bench import as_markdown, bench_mixers

    for value in length or []:
        if value < 1:
            raise ValueError(f"--length must be at least 1, got {value}")
    with console.status("timing") as status:
        timings = bench_mixers(
            names,
            dim=dim,
            lengths=length or (512, 2048),
            repeats=repeats,
            progress=lambda text: status.update(f"timing {text}"),
        )
    table = as_markdown(timings, dim)
    console.print(table, markup=False, highlight=False, soft_wrap=True)
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(
            f"# What mixers cost\n\nMade by `anyformer bench --out FILE`.\n\n{table}", encoding="utf-8"
        )
