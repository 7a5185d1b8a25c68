"""The python on the other pages and in the README runs, each page's blocks in order."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path
from typing import Any

import pytest

QUICKER = {"compare.md": {'budget="40 steps"': 'budget="8 steps", parameters=8000'}}
"""What is written on a page, and what is run in its place."""


@pytest.mark.parametrize(
    "page", ["../README.md", "quickstart.md", "concepts.md", "models.md", "compare.md", "graphs.md"]
)
def test_python_runs(page: str, blocks_of: Any, run: Any, tmp_path: Path) -> None:
    blocks = [b for b in blocks_of(page) if b.kind == "python" and not b.title]
    assert blocks
    text = "\n".join(b.text for b in blocks)
    for said, quicker in QUICKER.get(page, {}).items():
        assert said in text
        text = text.replace(said, quicker)
    (tmp_path / "page.py").write_text(text, encoding="utf-8")
    (tmp_path / "examples").symlink_to(Path(__file__).parents[2] / "examples")
    run([sys.executable, "page.py"])


def test_the_quickstart_names_no_file_that_is_not_there(blocks_of: Any) -> None:
    """Each file, folder and model that its commands read is shipped, or an earlier command or block makes it."""
    root, made = Path(__file__).parents[2], set[str]()
    for block in blocks_of("quickstart.md"):
        made |= set(re.findall(r"""(?<=\.save\(")[^"]+|(?<=out=")[^"]+""", block.text))
        commands = block.text.replace("\\\n", " ").splitlines() if block.kind == "sh" else []
        for line in commands:
            first, *words = shlex.split(line, comments=True) or [""]
            written = {words[i + 1] for i, word in enumerate(words[:-1]) if word in ("--out", ">")}
            read = [
                word
                for word in words
                if re.search(r"^(?!--).*(\w/\w|-model$|\.(csv|tsv|conll|jsonl|json)$)", word)
            ]
            for word in read if first in ("anyformer", "head") else []:
                known = word in made | written or word.removesuffix("/winner") in made
                assert known or (root / word).exists(), f"{word} in: {line}"
            made |= written
    assert {"river", "words-model"} <= made
