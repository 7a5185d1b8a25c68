"""Comparisons on a folder of real data: the best of ours beside the best reference, and what the verdict said."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from hashlib import sha256
from pathlib import Path

from anyformer.bench.cases import RealCase
from anyformer.bench.machine import describe_machine
from anyformer.bench.ranks import ranks_table
from anyformer.bench.report import BenchTable, Page
from anyformer.compare import Comparison, TaskResult, compare
from anyformer.compare.results import Standing
from anyformer.compare.results.formats import amount, duration, format_scores, metric_title

INTRODUCTION = (
    "Each row is one `anyformer compare` with its default candidates, unless others are named: the best of our models "
    "beside the best predictor without one, on the same test items; both are the best by these test scores, which "
    "flatters the side with more to choose from. The *lead* is the share by which the error of the reference is larger "
    "than ours (its accuracy smaller, in points); negative where the reference is ahead."
)


def compare_folder(
    folder: Path,
    cases: Sequence[RealCase],
    keep: Path,
    *,
    budget: str,
    seeds: int,
    workers: int | None,
    command: str,
    told: Callable[[Page, str], None],
) -> Page:
    """Compare on all cases; a comparison that is in ``keep`` is not made again, one that was stopped goes on.

    Args:
        folder: of the data.
        keep: a folder for the comparisons, one for each case.
        budget: of each case that names none.
        told: is called with the page so far, and the case, after each.
    """
    page = Page(describe_machine(), command, title="Real data", introduction=INTRODUCTION)
    columns = (
        "data",
        "ranked by",
        "our best",
        "score",
        "best reference",
        "score",
        "lead",
        "verdict",
        "time of budget",
    )
    summary = BenchTable("The best of ours beside the best reference", columns)
    boards, results = list[BenchTable](), list[TaskResult]()
    for case in cases:
        try:
            found = compare_case(folder, case, keep, budget=budget, seeds=seeds, workers=workers)
        except (
            ValueError
        ) as error:  # of this case's data: the hours spent on the others must not be lost with it
            page.failed[case.title] = str(error)
        else:
            result = found.results.tasks[0]
            results.append(result)
            time = f"{duration(found.results.seconds)} of {case.budget or budget}"
            summary.add(case.title, *summary_of(result), time)
            boards.append(leaderboard_of(case, result))
        ranks = ranks_table(results)
        page.tables = [summary, *([ranks] if ranks else []), *boards]
        told(page, case.title)
    return page


def compare_case(
    folder: Path, case: RealCase, keep: Path, *, budget: str, seeds: int, workers: int | None
) -> Comparison:
    """Compare on one case, in a folder of ``keep`` of its own (:func:`folder_of`)."""
    budget = case.budget or budget
    out = keep / folder_of(folder, case, budget, seeds)
    if (out / "plan.json").exists():
        return compare(out=out, resume=True, quiet=True)
    return compare(
        folder / case.data,
        case.models,
        budget=budget,
        out=out,
        target=case.target,
        metric=case.metric,
        options=case.options,
        parameters=case.parameters,
        equal=case.equal,
        seeds=seeds,
        workers=workers,
        quiet=True,
    )


def folder_of(folder: Path, case: RealCase, budget: str, seeds: int) -> str:
    """Return the name of a comparison's folder: the case's, and a hash of all that is asked and of when the data is of.

    What is asked otherwise, or of a file that has changed, is another comparison.
    """
    facts = (folder / case.data).stat()
    asked = [
        case.model_dump_json(),
        str((folder / case.data).resolve()),
        budget,
        seeds,
        facts.st_size,
        facts.st_mtime_ns,
    ]
    words = re.sub(r"[^A-Za-z0-9]+", "-", case.title).strip("-")[:60]
    return f"{words}-{sha256(repr(asked).encode()).hexdigest()[:8]}".lstrip("-")


def lead_of(result: TaskResult, ours: float, reference: float) -> str:
    """Return our lead over the reference in per cent of our error, or in points of a metric that ends at its best."""
    metric = result.task.metric
    if metric.higher_is_better:
        return (
            f"{100 * (ours - reference):+.1f} points" if metric.limits[1] == 1 else amount(ours - reference)
        )
    return f"{100 * (reference / ours - 1):+.1f} %" if ours > 0 else "–"


def summary_of(result: TaskResult) -> tuple[str, ...]:
    """Return the cells of a comparison's row, but for its name and its time."""
    metric = result.task.metric
    best = {kind: _best(result, kind) for kind in ("candidate", "reference")}
    ours, theirs = best["candidate"], best["reference"]
    scores = iter(format_scores(metric, [row.score for row in best.values() if row is not None]))
    cells = [cell for row in best.values() for cell in ((row.name, next(scores)) if row else ("–", "–"))]
    lead = lead_of(result, ours.score, theirs.score) if ours and theirs else "–"
    return metric_title(metric), *cells, lead, result.verdict.kind.replace("_", " ")


def _best(result: TaskResult, kind: str) -> Standing | None:
    return next((row for row in result.leaderboard if row.kind == kind), None)


def leaderboard_of(case: RealCase, result: TaskResult) -> BenchTable:
    """Return the leaderboard of a comparison with its verdict below."""
    metric = result.task.metric
    facts = {candidate.name: candidate for candidate in result.candidates}
    table = BenchTable(
        case.title,
        ("rank and name", metric_title(metric), "95 % interval", "parameters", "training"),
        " ".join([result.verdict.headline, *result.verdict.details]),
    )
    for row in result.leaderboard:
        score, low, high = format_scores(metric, [row.score, row.low, row.high])
        one = facts.get(row.name)
        seconds = [run.seconds for run in one.runs] if one else []
        table.add(
            f"{row.rank}. {row.name}" + (" (reference)" if row.kind == "reference" else ""),
            score,
            f"{low} to {high}",
            f"{one.parameters:,}" if one and one.parameters else "–",
            f"{duration(sum(seconds) / len(seconds))}, {len(seconds)} seeds" if seconds else "–",
        )
    return table
