"""What the terminal shows: names as they are, at every width."""

from __future__ import annotations

import io
import re

import pytest
import synthetic
from rich.console import Console

from anyformer.compare.report.page import render
from anyformer.compare.report.terminal import print_results
from anyformer.compare.results import Results
from anyformer.terminal import new_console

NAMES = [
    "[mamba*3, attention]*1",
    "[/x] [bold]y[/bold]",
    "a_rather_long_name_of_a_candidate_without_a_blank [red]",
]


def renamed() -> Results:
    """Results whose candidates, task and reasons hold brackets."""
    text = synthetic.results(synthetic.task_result()).model_dump_json()
    for old, new in zip(("transformer", "hybrid", "retnet"), NAMES, strict=True):
        text = text.replace(f'"{old}"', f'"{new}"')
    text = text.replace("the loss became NaN", "[/] the loss of [mamba*3] became NaN").replace(
        '"recall"', '"[recall]"'
    )
    return Results.model_validate_json(text)


def printed(width: int | None, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.delenv("COLUMNS", raising=False)
    console = new_console()
    out = io.StringIO()
    console.file = out
    if width is not None:
        console.width = width
    print_results(renamed(), console)
    return out.getvalue()


@pytest.mark.parametrize("width", [40, 46, 53, 60, 70, 72, 80, 120])
def test_names_stay_whole(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    text = printed(width, monkeypatch)
    assert "…" not in text
    assert max(map(len, text.splitlines())) <= width
    cells = [re.split(r"\s{2,}", line[6:])[0] for line in text.splitlines()]  # the column of candidates
    folded = "".join(cells)
    joined = re.sub(r"\s", "", text) + re.sub(r"\s", "", folded)
    for name in [*NAMES, "[/] the loss of [mamba*3] became NaN"]:
        assert re.sub(r"\s", "", name) in joined, name
    assert ("The report also has" in text) == (width <= 80)


def test_candidates_and_references_state_how_long_they_took(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = printed(160, monkeypatch).splitlines()
    (head,) = [line for line in lines if "tokens/s" in line]
    (reference,) = [line for line in lines if " most frequent value " in line]
    (best,) = [line for line in lines if " 1 " in line[:4] and "–" in line]
    for line in (reference, best):
        assert re.search(r" s *$", line[: head.index("training") + len("training")]), line


def test_piped_names_stand_on_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    text = printed(None, monkeypatch)
    assert all(name in text for name in NAMES)


def test_no_console_reads_markup() -> None:
    console = new_console(stderr=True)
    assert isinstance(console, Console)
    with console.capture() as captured:
        console.print("[bold]x[/bold] [/]")
    assert captured.get() == "[bold]x[/bold] [/]\n"


def test_weights_before_the_end_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    results = synthetic.results(synthetic.task_result())
    for run in results.tasks[0].candidates[2].runs:
        run.steps, run.best_step = 600, 250
    told = "best at step 250 of 600"
    console = new_console()
    with console.capture() as captured:
        print_results(results, console)
    assert f"mamba: {told}" in captured.get() and captured.get().count("best at step") == 1
    assert render(results).count(told) == 1
