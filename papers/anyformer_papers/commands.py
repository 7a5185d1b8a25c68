"""``anyformer papers``: the command line finds it by the entry point ``anyformer.commands``."""

from __future__ import annotations

import json
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from rich.text import Text

from anyformer.cli.main import console, one_message

if TYPE_CHECKING:
    from anyformer_papers import Paper
    from anyformer_papers.identity import Checked

app = typer.Typer(
    help="The executable bibliography: what each paper is here, and what proves it.", no_args_is_help=True
)

OUTCOMES = {
    "holds": Text("holds", "green"),
    "skipped": Text("skipped", "yellow"),
    "broken": Text("BROKEN", "bold red"),
}


def _chosen(names: list[str], family: list[str], everything: bool) -> list[Paper]:
    from anyformer_papers import catalogue, find_paper, papers_of

    if everything:
        return [paper for paper in catalogue() if paper.has_card]
    found = [find_paper(name) for name in names]
    for each in family:
        found += [paper for paper in papers_of(each) if paper.has_card]
    if not found:
        raise ValueError("name papers, or give --family, or say --all")
    return found


@app.command("list")
@one_message
def list_papers(
    family: Annotated[
        list[str] | None, typer.Option(help="Only this family; may be given several times.")
    ] = None,
    built: Annotated[bool, typer.Option("--built", help="Only papers that are built.")] = False,
    part: Annotated[
        str | None, typer.Option(help="Only papers made with this part, such as 'mixer retention'.")
    ] = None,
    text: Annotated[
        str, typer.Argument(help="Only papers with this in their name, title, author or year.")
    ] = "",
) -> None:
    """List papers by family, each with the verdict on its claim."""
    from anyformer_papers import catalogue, papers_of
    from anyformer_papers.parts import papers_with, part_exists
    from anyformer_papers.status import status_of

    if part is not None and not part_exists(part):
        raise ValueError(
            f"--part {part!r} is no part of the library: write 'mixer retention', 'model retnet', ..."
        )
    rows = [paper for each in family for paper in papers_of(each)] if family else list(catalogue())
    table = Table(title="papers", title_justify="left")
    for column in ("slug", "paper", "family", "claim"):
        table.add_column(column, no_wrap=column == "slug")
    for paper in sorted(rows, key=lambda p: (p.family, p.year, p.id)):
        words = f"{paper.name} {paper.title} {paper.first_author} {paper.year}"
        if text.lower() not in words.lower() or (built and not paper.has_card):
            continue
        if part is not None and paper.slug not in papers_with(part):
            continue
        status = status_of(paper)
        stands = status.claim if status.built else "[dim]not built yet[/]"
        table.add_row(paper.slug, f"{paper.title} ({paper.first_author} {paper.year})", paper.family, stands)
    console.print(table)
    console.print(f"{len(table.rows)} papers")


@app.command()
@one_message
def show(name: Annotated[str, typer.Argument(help="Slug, id or arXiv number.")]) -> None:
    """Show a paper: what it contributes, its parts here, its claim and the last evidence."""
    from anyformer_papers import find_paper
    from anyformer_papers.status import status_of

    paper = find_paper(name)
    link = f"https://arxiv.org/abs/{paper.arxiv}" if paper.arxiv else "not on arXiv"
    unsure = "" if paper.arxiv_checked or not paper.arxiv else " (number not looked up)"
    console.print(paper.title, style="bold")
    console.print(f"{paper.first_author} {paper.year}, {link}{unsure}; {paper.family}")
    if not paper.has_card:
        console.print("not built yet")
        return
    card, status = paper.card(), status_of(paper)
    lines = {
        "what": card.what,
        "parts": ", ".join(card.facts.parts),
        "differs": card.differs,
        "followed": f"{card.facts.followed}. {card.notes}".rstrip(". ") + ".",
        "claim": card.claim or "none that can be tested",
        "evidence": status.last.line() if status.last else status.claim,
    }
    if card.facts.beyond_reach is not None:
        lines["beyond reach"] = card.facts.beyond_reach + ("; the study is a proxy" if card.study else "")
    table = Table.grid(padding=(0, 2))
    for key, value in lines.items():
        table.add_row(Text(key, "bold"), value)
    for identity in card.identities:
        table.add_row(Text("proved by", "bold"), identity.words)
    console.print(table)


@app.command()
@one_message
def check(
    names: Annotated[list[str] | None, typer.Argument(help="Slugs, ids or arXiv numbers.")] = None,
    family: Annotated[list[str] | None, typer.Option(help="Every built paper of this family.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Every built paper.")] = False,
    claims: Annotated[
        bool, typer.Option("--claims", help="Also run the studies, and append what comes out.")
    ] = False,
    workers: Annotated[int | None, typer.Option(help="Processes; by default one a core.")] = None,
) -> None:
    """Prove papers: their identities, in seconds; with --claims their studies, in minutes each."""
    from anyformer.machine import available_cores
    from anyformer_papers.proofs import keep

    start = time.perf_counter()
    chosen = _chosen(names or [], family or [], every)
    for paper in chosen:
        paper.card()
    count = min(len(chosen), workers or available_cores())
    table = Table(title="identities", title_justify="left")
    for column in ("paper", "identity", "outcome", "s"):
        table.add_column(column, no_wrap=column == "paper")
    broken: list[tuple[str, Checked]] = []
    for paper, results in zip(chosen, _check([paper.slug for paper in chosen], count), strict=True):
        keep(paper.slug, results)
        for r in results:
            table.add_row(paper.slug, r.identity, OUTCOMES[r.outcome], f"{r.seconds:.1f}")
            broken += [(paper.slug, r)] if r.outcome == "broken" else []
        if not results:
            table.add_row(paper.slug, "none", OUTCOMES["broken"], "")
    console.print(table)
    for slug, r in broken:
        console.print(f"BROKEN   {slug}: {r.identity}: {r.detail}")
    console.print(f"{len(chosen)} papers, {len(broken)} broken, {time.perf_counter() - start:.0f} s")
    if claims:
        for paper in chosen:
            _run_study(paper, workers)
    if broken:
        raise typer.Exit(1)


def _check(slugs: list[str], workers: int) -> list[list[Checked]]:
    if workers <= 1:
        return [_check_one(slug) for slug in slugs]
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        return list(pool.map(_check_one, slugs))


def _check_one(slug: str) -> list[Checked]:
    import torch

    from anyformer_papers import find_paper

    torch.set_num_threads(1)
    return find_paper(slug).card().check()


def _run_study(paper: Paper, workers: int | None) -> None:
    study = paper.card().study
    if study is None:
        console.print(f"{paper.slug}: no study")
        return
    console.print(f"{paper.slug}: running its study")
    record = study.run(workers=workers)
    with open(paper.records_file, "a", encoding="utf-8") as file:
        file.write(record.model_dump_json() + "\n")
    console.print(f"{paper.slug}: {record.line()}")


@app.command()
@one_message
def status(
    as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
) -> None:
    """Count the papers that are known, built and working, by family."""
    from anyformer_papers import catalogue
    from anyformer_papers.status import status_of

    found = [status_of(paper) for paper in catalogue()]
    if as_json:
        print(json.dumps({"papers": [s.as_json() for s in found]}, indent=1))
        return
    table = Table(title="papers", title_justify="left")
    for column in ("family", "known", "built", "working"):
        table.add_column(column, justify="left" if column == "family" else "right")
    for family in sorted({s.paper.family for s in found}):
        own = [s for s in found if s.paper.family == family]
        table.add_row(family, str(len(own)), str(sum(s.built for s in own)), str(sum(s.works for s in own)))
    console.print(table)
    console.print(
        f"{len(found)} known, {sum(s.built for s in found)} built, {sum(s.works for s in found)} working"
    )
    unchecked = sum(s.built and s.identities == "unchecked" for s in found)
    if unchecked:
        console.print(
            f"The identities of {unchecked} built papers were not checked on this code, so that they do not count as "
            "working: anyformer papers check --all"
        )
    for what, verdicts in (
        ("claims of the built", [s.claim for s in found if s.built]),
        ("proxies of claims beyond reach", [s.proxy for s in found if s.proxy]),
    ):
        if verdicts:
            console.print(f"{what}: " + ", ".join(f"{verdicts.count(v)} {v}" for v in sorted(set(verdicts))))
