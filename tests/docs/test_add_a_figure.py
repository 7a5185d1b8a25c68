"""A figure is added as the page says: its file is written, and the report has it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from anyformer.compare.report import figures
from anyformer.compare.report.page import render
from anyformer.registry import modules_in

sys.path.insert(0, str(Path(__file__).parents[1] / "compare"))

import synthetic


@pytest.fixture(autouse=True)
def kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """The figures of the library are registered, and after a test no others."""
    monkeypatch.setattr(figures.figures, "_entries", {entry.id: entry for entry in figures.figures})


@pytest.fixture
def written(blocks_of: Callable[[str], list[Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file of the page lies in the folder of the figures, as far as this process can see."""
    (block,) = [block for block in blocks_of("add_a_figure.md") if block.title]
    path = tmp_path / block.title
    path.parent.mkdir(parents=True)
    path.write_text(block.text, encoding="utf-8")
    monkeypatch.setattr(figures, "__path__", [*figures.__path__, str(path.parent)])
    monkeypatch.setattr(figures.figures, "manifest", modules_in(figures.__name__, figures.__path__))
    monkeypatch.delitem(sys.modules, "anyformer.compare.report.figures.rates", raising=False)


def test_the_report_has_it(written: None) -> None:
    results = synthetic.results()
    page = render(results)
    sys.modules.pop("anyformer.compare.report.figures.rates")
    assert "rates" in figures.list_figures()
    assert page.index("Beyond the trained length") < page.index("Loss by learning rate")
    assert all(f'data-plot="{result.task.name}-rates"' in page for result in results.tasks)


def test_without_anything_to_show_it_is_left_out(written: None) -> None:
    result = synthetic.task_result()
    for candidate in result.candidates:
        candidate.search = candidate.search[:1]
    page = render(synthetic.results(result))
    sys.modules.pop("anyformer.compare.report.figures.rates")
    assert 'data-plot="recall-rates"' not in page and 'data-plot="recall-curves"' in page


def test_a_figure_of_a_script_is_drawn() -> None:
    @figures.register_figure("mine")
    def mine(result: Any, look: Any) -> Any:
        return figures.Plot("Mine alone", "", [])

    assert "Mine alone" in render(synthetic.results())
