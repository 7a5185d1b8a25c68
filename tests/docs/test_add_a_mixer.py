"""The tutorial works as it is written: its blocks are run in order, in a process and a folder of their own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "add_a_mixer.md"
BLOCK = re.compile(r'^```(\w+)(?: title="([^"]+)")?\n(.*?)^```$', re.MULTILINE | re.DOTALL)


def blocks(language: str) -> list[tuple[str, str]]:
    """Title and text of the page's blocks in one language."""
    found = [
        (title, text)
        for kind, title, text in BLOCK.findall(PAGE.read_text(encoding="utf-8"))
        if kind == language
    ]
    assert found, f"{PAGE.name} holds no {language} blocks"
    return found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the file that the reader has written after the first step."""
    for title, text in blocks("python"):
        if title:
            (tmp_path / title).write_text(text, encoding="utf-8")
    assert (tmp_path / "moving_average.py").exists()
    return tmp_path


def run(command: list[str], folder: Path) -> str:
    """Standard output of a command that must succeed."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(
        command, cwd=folder, env={**os.environ, "PATH": path}, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def test_python_runs_and_prints_what_the_page_says(folder: Path) -> None:
    script = "\n".join(text for title, text in blocks("python") if not title)
    (folder / "page.py").write_text(script, encoding="utf-8")
    printed = run([sys.executable, "page.py"], folder)
    (shown,) = [text for title, text in blocks("text") if title == "what it prints"]
    law = shown.split(": off by")[0]
    assert law in printed, f"the page shows\n{shown}\nbut the code prints\n{printed}"


def test_the_law_check_from_the_command_line(folder: Path) -> None:
    (command,) = [text.strip() for _, text in blocks("sh") if text.startswith("anyformer check")]
    assert " 0 broken" in run(command.split(), folder)


def test_the_comparison_from_the_command_line(folder: Path) -> None:
    (command,) = [text.strip() for _, text in blocks("sh") if text.startswith("anyformer compare")]
    short = command.replace("--budget 30s", "--budget 20steps")
    assert short != command
    run(short.split(), folder)
    assert (folder / "recall-report" / "report.html").exists()
