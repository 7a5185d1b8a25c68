"""The tutorial works as it is written: its blocks are run in order."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

PAGE = "add_a_mixer.md"


@pytest.fixture(autouse=True)
def _reader_wrote_the_files(blocks_of: Callable[[str], list[Any]], tmp_path: Path) -> None:
    """The folder holds the files of the page."""
    files = {b.title: b.text for b in blocks_of(PAGE) if (b.title or "").endswith(".py")}
    assert set(files) == {"moving_average.py", "fading.py"}
    for name, text in files.items():
        (tmp_path / name).write_text(text, encoding="utf-8")


def test_python_runs_and_prints_what_the_page_says(blocks_of: Any, run: Any, tmp_path: Path) -> None:
    blocks = blocks_of(PAGE)
    script = "\n".join(b.text for b in blocks if b.kind == "python" and not b.title)
    (tmp_path / "page.py").write_text(script, encoding="utf-8")
    printed = run([sys.executable, "page.py"])
    (shown,) = [b.text for b in blocks if b.title == "what it prints"]
    broken = shown.split(": off by")[0]
    assert broken in printed, f"the page shows\n{shown}\nbut the code prints\n{printed}"


def test_the_law_check_from_the_command_line(blocks_of: Any, run: Any) -> None:
    (command,) = [b.text for b in blocks_of(PAGE) if b.text.startswith("anyformer check")]
    assert " 0 broken" in run(command.split())


def test_the_comparison_from_the_command_line(blocks_of: Any, run: Any, tmp_path: Path) -> None:
    (command,) = [b.text for b in blocks_of(PAGE) if b.text.startswith("anyformer compare")]
    short = command.replace("--budget 30s", "--budget '8 steps' --parameters 8000")
    assert short != command
    run(shlex.split(short))
    assert (tmp_path / "recall-report" / "report.html").exists()
