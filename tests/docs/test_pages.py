"""The python on the other pages and in the README runs, each page's blocks in order."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest


@pytest.mark.parametrize(
    "page", ["../README.md", "quickstart.md", "concepts.md", "models.md", "compare.md", "graphs.md"]
)
def test_python_runs(page: str, blocks_of: Any, run: Any, tmp_path: Path) -> None:
    blocks = [b for b in blocks_of(page) if b.kind == "python" and not b.title]
    (tmp_path / "page.py").write_text("\n".join(b.text for b in blocks), encoding="utf-8")
    assert blocks
    (tmp_path / "examples").symlink_to(Path(__file__).parents[2] / "examples")
    run([sys.executable, "page.py"])
