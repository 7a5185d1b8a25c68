"""The glossary names code that exists, and pages import public names only."""

from __future__ import annotations

import ast
import importlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = [*(ROOT / "src" / "anyformer").rglob("*.py"), *(ROOT / "papers" / "anyformer_papers").glob("*.py")]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^( *)```python[^\n]*\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
PACKAGES = ("anyformer", "anyformer_papers")


def glossary() -> dict[str, tuple[str, str]]:
    """Term to its meaning and its words in code, as the table in CONTRIBUTING has them."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    section = text.partition("## Words\n")[2].partition("\n## ")[0]
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in section.splitlines()
        if line[:1] == "|"
    ]
    return {term: (meaning, code) for term, meaning, code in rows[2:]}


def identifiers(text: str) -> Iterator[str]:
    """Names of functions, classes, arguments, attributes and variables that a module defines or uses."""
    for node in ast.walk(ast.parse(text)):
        for field in ("name", "id", "attr", "arg", "module"):
            value = getattr(node, field, None)
            if isinstance(value, str):
                yield from value.split(".")


def test_the_glossary_names_code_that_exists() -> None:
    known = {name for path in SOURCES for name in identifiers(path.read_text(encoding="utf-8"))}
    words = glossary()
    assert len(words) >= 40 and list(words) == list(dict.fromkeys(words))
    for term, (meaning, code) in words.items():
        assert meaning.endswith("."), term
        spans = re.findall(r"`([^`]+)`", code)
        assert spans, f"{term}: say what it is in code"
        assert not [span for span in spans if span not in known], f"{term}: {code} is not in the code"


def blocks() -> list[tuple[str, str]]:
    """The Python blocks of all pages, with the name of their page."""
    found = []
    for page in PAGES:
        for indent, text in BLOCK.findall(page.read_text(encoding="utf-8")):
            found.append((str(page.relative_to(ROOT)), re.sub(f"^{indent}", "", text, flags=re.MULTILINE)))
    return found


def imports(tree: ast.AST) -> Iterator[tuple[str, str | None]]:
    """Modules of ours that a block imports, and names that it takes from them."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, None) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from ((node.module, alias.name) for alias in node.names)


def private(dotted: str) -> bool:
    return any(part.startswith("_") and not part.startswith("__") for part in dotted.split("."))


def problems(text: str) -> list[str]:
    """Imports in a block that are private or do not exist, and private attributes of what is imported."""
    tree, found, ours = ast.parse(text), [], set()
    for module, name in imports(tree):
        if module.split(".")[0] not in PACKAGES:
            continue
        ours.add(name or module.split(".")[0])
        dotted = f"{module}.{name}" if name else module
        if private(dotted):
            found.append(f"{dotted} is private")
        elif name is not None and not hasattr(importlib.import_module(module), name):
            try:
                importlib.import_module(dotted)
            except ImportError:
                found.append(f"{dotted} does not exist")
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            root = ast.unparse(node).split(".")
            if root[0] in ours and private(ast.unparse(node)):
                found.append(f"{ast.unparse(node)} is private")
    return found


def test_pages_import_public_names_only() -> None:
    assert len({page for page, _ in blocks()}) > 5
    assert not [f"{page}: {problem}" for page, text in blocks() for problem in problems(text)]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_prose_names_no_private_module(page: Path) -> None:
    assert not re.findall(r"\banyformer(?:\.\w+)*\._\w+", page.read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    "text",
    [
        "from anyformer.ops._base import Primitive",
        "import anyformer.ops._base",
        "from anyformer.ops import _base",
        "import anyformer\nanyformer.ops._base.load_all()",
        "from anyformer import mixers\nmixers._registry",
        "from anyformer.mixers import no_such_name",
    ],
)
def test_what_is_private_or_missing_is_found(text: str) -> None:
    assert problems(text)


def test_what_is_public_passes() -> None:
    assert not problems(
        "from anyformer.mixers import create_mixer, linear\nimport anyformer\nself._forward(anyformer.x)"
    )
