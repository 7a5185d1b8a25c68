"""``anyformer bench``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from anyformer.cli.checks import check_device
from anyformer.cli.main import app, console, one_message

if TYPE_CHECKING:
    from anyformer.bench import Page

REAL = "real"


@app.command()
@one_message
def bench(
    mixers: Annotated[
        list[str] | None,
        typer.Argument(
            help="Time only these mixers, beside attention; or real FOLDER, to compare on its data."
        ),
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
    budget: Annotated[
        str | None, typer.Option(help="Of each comparison of real FOLDER; 10m by default.")
    ] = None,
    seeds: Annotated[
        int | None, typer.Option(help="Runs of each candidate in real FOLDER; 5 by default.")
    ] = None,
    workers: Annotated[
        int | None, typer.Option(help="Processes of each comparison of real FOLDER; by default one a core.")
    ] = None,
    keep: Annotated[
        Path | None,
        typer.Option(help="Folder of the comparisons of real FOLDER, from which a later run goes on."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Write this Markdown file, with figures and plots in a folder beside it."),
    ] = None,
) -> None:
    """Measure costs on this machine, against its limits, other libraries and softmax attention (ten minutes).

    ``anyformer bench real FOLDER`` compares on a folder of data instead, and sets the best of ours beside the best
    reference: on the files that its cases.yaml lists, and on public ones that are known by name.
    """
    if mixers and mixers[0] == REAL:
        if suite or length or device != "cpu" or dim != 128:
            raise ValueError("bench real FOLDER takes no --suite, --length, --device or --dim")
        _real(mixers[1:], budget or "10m", 5 if seeds is None else seeds, workers, keep, out)
        return
    if any(given is not None for given in (budget, seeds, workers, keep)):
        raise ValueError("--budget, --seeds, --workers and --keep are for bench real FOLDER")
    import torch

    from anyformer.bench import Page, bench_mixers, run_suites
    from anyformer.bench.machine import describe_machine
    from anyformer.bench.mixers import mixers_table

    for value in length or []:
        if value < 1:
            raise ValueError(f"--length must be at least 1, got {value}")
    check_device(device)
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
    _show(page, out)


def _show(page: Page, out: Path | None) -> None:
    """Print a page and write it; exit with 1 if a part of it broke off."""
    console.print(page.markdown(), soft_wrap=True)
    for problem in page.write(out) if out else []:
        console.print(problem, style="yellow")
    if page.failed:
        raise typer.Exit(1)


def _real(
    folders: list[str], budget: str, seeds: int, workers: int | None, keep: Path | None, out: Path | None
) -> None:
    """Compare on a folder of data; the page is written after each comparison."""
    from anyformer.bench.cases import cases_in
    from anyformer.bench.real import compare_folder
    from anyformer.compare import Budget

    if len(folders) != 1:
        raise ValueError(f"bench real takes one folder of data, got {' '.join(folders) or 'none'}")
    Budget.parse(budget)
    folder = Path(folders[0])
    cases, left_out = cases_in(folder)
    if left_out:
        console.print(f"no case is of {', '.join(left_out)}: cases.yaml in the folder can list them")
    command = f"anyformer bench real {folder.name} --budget {budget} --seeds {seeds}"

    def told(page: Page, title: str) -> None:
        done = len(page.tables[0].rows) + len(page.failed)
        console.print(f"{done} of {len(cases)}: {title}")
        if out is not None:
            page.write(out)

    page = compare_folder(
        folder,
        cases,
        keep or Path("bench-real"),
        budget=budget,
        seeds=seeds,
        workers=workers,
        command=command,
        told=told,
    )
    _show(page, out)
