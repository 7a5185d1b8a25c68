"""Output in the terminal: progress with the time left while a comparison runs, and the leaderboard at the end."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

from rich import box
from rich.cells import cell_len
from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from anyformer.compare.report.beside import beside_columns, beside_rows, beside_title
from anyformer.compare.results import CandidateResult, Results, TaskResult
from anyformer.compare.results import formats as words
from anyformer.compare.run.scheduler import Scheduler
from anyformer.compare.run.unit_files import Progress, read_progress

REFRESH_SECONDS = 0.5
PLAIN_SECONDS = 10.0


@dataclass
class StageProgress:
    """Progress of a candidate's units in the present stage."""

    done: int = 0
    failed: int = 0
    total: int = 0
    share: float = 0.0
    latest: Progress = field(default_factory=Progress)


class Watcher:
    """Shows the progress of a scheduler: on a terminal one table that is redrawn, elsewhere a line now and then."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.live = Live(console=console, auto_refresh=False, transient=True) if console.is_terminal else None
        self._drawn = 0.0
        self._stage = ""

    def __enter__(self) -> Watcher:
        if self.live:
            self.live.__enter__()
        return self

    def __exit__(self, *exc: Any) -> None:
        if self.live:
            self.live.__exit__(*exc)

    def __call__(self, scheduler: Scheduler) -> None:
        now = time.monotonic()
        every = REFRESH_SECONDS if self.live else PLAIN_SECONDS
        if now - self._drawn < every and scheduler.stage == self._stage:
            return
        self._drawn, new_stage, self._stage = now, scheduler.stage != self._stage, scheduler.stage
        progress_of = stage_progress(scheduler)
        if self.live:
            self.live.update(_table(scheduler, progress_of), refresh=True)
        elif new_stage or progress_of:
            self.console.print(_line(scheduler, progress_of), soft_wrap=True)


def stage_progress(scheduler: Scheduler) -> dict[tuple[str, str], StageProgress]:
    """Return the progress by task and candidate, without references."""
    found: dict[tuple[str, str], StageProgress] = {}
    for unit in scheduler.units:
        if unit.phase == "reference":
            continue
        mine = found.setdefault((unit.task, unit.candidate), StageProgress())
        mine.total += 1
        outcome = scheduler.queue.outcome(unit)
        if outcome is not None:
            mine.done += 1
            mine.failed += outcome.status != "ok"
            mine.share += 1.0
        else:
            progress = read_progress(scheduler.queue.home(unit))
            mine.share += progress.share
            mine.latest = max(mine.latest, progress, key=lambda p: p.step)
    return found


def time_left(scheduler: Scheduler, progress_of: dict[tuple[str, str], StageProgress]) -> float | None:
    """Estimate the seconds to the end of the comparison; None if they are not known yet."""
    plan = scheduler.plan
    if plan.granted.kind == "seconds":
        left = plan.granted.amount - (scheduler.clock.seconds - plan.since)
        return left if left > 0 else None
    work = 0.0
    for (task_name, name), mine in progress_of.items():
        task, speed = plan.task(task_name), scheduler.found[task_name].calibrations.get(name)
        if not task.legs or speed is None:
            return None
        leg, *earlier = reversed(task.legs_of(name))
        begun = max((other.steps for other in earlier), default=0)
        if scheduler.stage == "training":
            steps = (mine.total - mine.share) * (leg.steps - begun) + mine.total * (leg.planned - leg.steps)
            work += steps * speed.step_seconds / plan.workers
        work += (mine.total - mine.done if scheduler.stage == "measuring costs" else 1) * plan.measure_seconds
    return work


def _head(scheduler: Scheduler, progress_of: dict[tuple[str, str], StageProgress]) -> str:
    left = time_left(scheduler, progress_of)
    text = f"{scheduler.stage} · {words.duration(scheduler.clock.seconds)} gone"
    return text + (f" · about {words.duration(left)} left" if left else "")


def _table(scheduler: Scheduler, progress_of: dict[tuple[str, str], StageProgress]) -> Group:
    table = Table(box=None, padding=(0, 2, 0, 0), show_header=True, header_style="dim")
    for name in ("task", "candidate", "", "runs", "now"):
        table.add_column(name, overflow="fold")
    for (task, candidate), mine in progress_of.items():
        bar = ProgressBar(total=mine.total, completed=mine.share, width=28)
        failed = scheduler.found[task].failures.get(candidate)
        word = failed[0].replace("_", " ") if failed else "failed" if mine.failed == mine.total else ""
        now = Text(word, style="red") if word else Text(_now(mine), style="dim")
        table.add_row(task, candidate, bar, f"{mine.done}/{mine.total}", now)
    return Group(Text(_head(scheduler, progress_of), style="bold"), table)


def _now(mine: StageProgress) -> str:
    latest = mine.latest
    if not latest.step:
        return "done" if mine.done == mine.total else ""
    text = f"step {latest.step:,} of {latest.steps:,}"
    if latest.loss is not None:
        text += f", loss {words.amount(latest.loss)}"
    return text


def _line(scheduler: Scheduler, progress_of: dict[tuple[str, str], StageProgress]) -> str:
    done = sum(mine.done for mine in progress_of.values())
    total = sum(mine.total for mine in progress_of.values())
    return f"{_head(scheduler, progress_of)} · {done} of {total} runs done"


def print_results(results: Results, console: Console) -> None:
    """Print leaderboard and verdict of every task."""
    for result in results.tasks:
        console.print()
        for part in _leaderboard(result, console):
            console.print(part)
        for part in _beside(result):
            console.print(part)
        for candidate in result.candidates:
            if candidate.status != "ok":
                what = candidate.status.replace("_", " ")
                console.print(
                    f"  {candidate.name}: {what}: {candidate.reason}",
                    style="red",
                )
            elif ending := words.ending_of(candidate, result.settings.steps):
                console.print(f"  {candidate.name}: {ending}", style="dim")
        console.print()
        console.print(Text(result.verdict.headline, style="bold"))
        command = results.how_to_go_on(result)
        for text in [*([f"Go on with: {command}"] if command else []), *result.verdict.details]:
            console.print(f"  {text}")
        for text in [*(one.told for one in result.diagnostics), *result.undiagnosed]:
            console.print(f"  {text}", style="dim")
        for text in (result.saved_note, words.confidence(result.confidence)):
            if text:
                console.print(f"  {text}", style="dim")


COSTS = ("training", "tokens/s", "ms/token", "memory")


def _leaderboard(result: TaskResult, console: Console) -> list[Table | Text]:
    """Return the table with as many cost columns as fit into the console, and a line that names the others."""
    tables = [_table_of(result, kept) for kept in range(len(COSTS), -1, -1)]
    fits = [
        t for t in tables if sum(c.min_width or 0 for c in t.columns) + 3 * len(t.columns) < console.width
    ]
    table = fits[0] if fits else tables[-1]
    left_out = COSTS[len(COSTS) - tables.index(table) :]
    return [table, *([Text(f"The report also has {words.join(left_out)}.", "dim")] if left_out else [])]


def _table_of(result: TaskResult, num_costs: int) -> Table:
    metric = result.task.metric
    table = Table(
        box=box.SIMPLE_HEAD,
        title=Text(f"{result.task.name}: {result.task.title}", "bold"),
        title_justify="left",
    )
    costs = {("candidate", c.name): _costs(c)[:num_costs] for c in result.candidates}
    for reference in result.references:
        fitted = [words.duration(reference.fit_seconds), *[""] * (len(COSTS) - 1)]
        costs["reference", reference.name] = fitted[:num_costs]
    rows = []
    for row in result.leaderboard:
        score, low, high = words.format_scores(metric, [row.score, row.low, row.high])
        rows.append([str(row.rank), row.name, score, f"{low}–{high}", *costs[row.kind, row.name]])
    names = ["", "candidate", words.metric_title(metric), "95%", *COSTS[:num_costs]]
    for column, name in enumerate(names):
        widest = max(cell_len(row[column]) for row in [names, *rows])
        if name == "candidate":
            table.add_column(name, overflow="fold", min_width=min(16, widest))
        else:
            table.add_column(name, justify="right", min_width=widest, style="" if name else "dim")
    for row, cells in zip(result.leaderboard, rows):
        best = "bold" if row.name == result.verdict.winner else ""
        table.add_row(*cells, style=best if row.kind == "candidate" else "italic dim")
    return table


def _beside(result: TaskResult) -> list[Table | Text]:
    """Return the table of the metrics besides the one that ranks, if there are any."""
    rows = beside_rows(result)
    if not rows:
        return []
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("candidate", overflow="fold")
    for name in beside_columns(result):
        table.add_column(name, justify="right")
    for name, figures in rows:
        table.add_row(name, *figures)
    return [Text(f"  {beside_title(result)}", "dim"), table]


def _costs(candidate: CandidateResult) -> list[str]:
    return [
        words.duration(candidate.fit_seconds),
        words.rate(candidate.costs.train_tokens_per_second),
        words.amount(candidate.costs.token_latency_ms),
        words.size(candidate.costs.peak_memory_bytes),
    ]
