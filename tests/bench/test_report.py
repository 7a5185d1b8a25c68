"""The page that a benchmark writes."""

from __future__ import annotations

import json
import math
from pathlib import Path

from anyformer.bench.report import BenchTable, LogPlot, Page
from anyformer.bench.timing import Times


def test_a_page_is_written(tmp_path: Path) -> None:
    table = BenchTable("Some times", ("what", "ms"), "A note.")
    table.add("a thing", Times((0.001, 0.002, 0.003)))
    plot = LogPlot("curves", "Curves", "tokens", "ms", {"one": [(1, 1), (2, 4)]})
    page = Page("a machine", "a command", [table], [plot])
    problems = page.write(tmp_path / "page.md")
    text = (tmp_path / "page.md").read_text()
    assert "| a thing | 2 ±100% |" in text and "![Curves](page/curves.svg)" in text
    assert json.loads((tmp_path / "page" / "figures.json").read_text())["machine"] == "a machine"
    if not problems:
        assert "<svg" in (tmp_path / "page" / "curves.svg").read_text()
    assert math.isclose(Times((1.0, 2.0, 3.0)).spread, 1.0)
