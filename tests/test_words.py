"""Docstrings begin with what they say, and a name means one thing."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = sorted(
    [*(ROOT / "src" / "anyformer").rglob("*.py"), *(ROOT / "papers" / "anyformer_papers").rglob("*.py")]
)
VAGUE = frozenset({"What", "Whether", "Those", "How", "Why", "Where"})
"""First words after which a reader waits for the verb."""
SHARED = {
    "Axial": "the ids of a mixer and of a position scheme, each with its usual name",
    "Segments": "a mask, and a wrapper by its id",
}
"""Public classes of one name in different rooms, with the reason."""


def docstrings(path: Path) -> Iterator[tuple[str, str]]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            text = ast.get_docstring(node)
            if text:
                yield getattr(node, "name", "module"), text


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_first_sentences_are_imperative_or_name_the_thing(path: Path) -> None:
    assert not {name: text.split("\n")[0] for name, text in docstrings(path) if text.split()[0] in VAGUE}


def test_public_classes_have_names_of_their_own() -> None:
    places: dict[str, set[str]] = defaultdict(set)
    for path in SOURCES:
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places[node.name].add(str(path.relative_to(ROOT)))
    assert {name for name, paths in places.items() if len(paths) > 1} == set(SHARED)
