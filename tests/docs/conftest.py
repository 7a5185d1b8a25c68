"""What the tests of pages share: reading code blocks, and running them in a process and a folder of their own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

DOCS = Path(__file__).parents[2] / "docs"
BLOCK = re.compile(
    r'^(?P<indent> *)```(?P<kind>\w+)(?: title="(?P<title>[^"]+)")?\n(?P<text>.*?)^(?P=indent)```$',
    re.MULTILINE | re.DOTALL,
)


class Block(NamedTuple):
    """A code block of a page."""

    kind: str
    title: str | None
    text: str


@pytest.fixture
def blocks_of() -> Callable[[str], list[Block]]:
    """The code blocks of a page, by its name; there must be some."""

    def read(page: str) -> list[Block]:
        found = []
        for match in BLOCK.finditer((DOCS / page).read_text(encoding="utf-8")):
            text = re.sub(f"^{match['indent']}", "", match["text"], flags=re.MULTILINE)
            found.append(Block(match["kind"], match["title"], text))
        assert found, f"{page} holds no code"
        return found

    return read


@pytest.fixture
def run(tmp_path: Path) -> Callable[[list[str]], str]:
    """Run a command that must succeed, in ``tmp_path`` and with this environment's commands; its standard output."""

    def go(command: list[str]) -> str:
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        done = subprocess.run(
            command,
            cwd=tmp_path,
            env={**os.environ, "PATH": path},
            capture_output=True,
            text=True,
            timeout=900,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    return go
