"""What holds of the project as a whole: sizes, versions, and that what is imported is declared."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import anyformer

ROOT = Path(__file__).parents[1]
SOURCES = sorted((ROOT / "src" / "anyformer").rglob("*.py"))
PAPERS = sorted((ROOT / "papers" / "anyformer_papers").rglob("*.py"))
MODULES = {"PIL": "pillow", "sklearn": "scikit-learn", "yaml": "pyyaml"}
"""Packages whose name isn't that of their module."""
UNSEEN = {"pyarrow", "plotly"}
"""Used without an import: pandas reads Parquet with the one; the report takes the other's JavaScript."""
if sys.version_info >= (3, 11):
    import tomllib
else:
    tomllib = pytest.importorskip("tomli")


def project(folder: str = ".") -> dict[str, object]:
    return tomllib.loads((ROOT / folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    return (node for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)))


def test_there_are_sources() -> None:
    assert len(SOURCES) > 50 and len(PAPERS) > 50


def code_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of the body, docstring left out."""
    body = function.body[1:] if ast.get_docstring(function) is not None else function.body
    return (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0


@pytest.mark.parametrize("path", [*SOURCES, *PAPERS], ids=lambda path: str(path.relative_to(ROOT)))
def test_files_and_functions_are_short(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.count("\n") < 500
    long = {f.name: code_lines(f) for f in functions(ast.parse(text)) if code_lines(f) > 60}
    assert not long


def modules_imported(path: Path) -> Iterator[str]:
    """Modules that a file imports, and names that it takes from them, as dotted names."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def is_private_module(name: str) -> bool:
    """Whether a dotted name passes through a module of the library whose name begins with an underscore."""
    parts = name.split(".")
    places = [ROOT.joinpath("src", *parts[: n + 1]) for n in range(len(parts)) if parts[n].startswith("_")]
    return any(place.is_dir() or place.with_suffix(".py").exists() for place in places)


@pytest.mark.parametrize("path", [*SOURCES, *PAPERS], ids=lambda path: str(path.relative_to(ROOT)))
def test_no_room_imports_a_private_module_of_another(path: Path) -> None:
    room = [] if path in PAPERS else ["anyformer", *path.relative_to(ROOT / "src" / "anyformer").parts[:1]]
    private = [name for name in modules_imported(path) if is_private_module(name)]
    assert not [name for name in private if name.split(".")[:2] != room]


def test_versions_agree() -> None:
    assert anyformer.__version__ == project()["version"]
    assert project("papers")["version"] == anyformer.__version__
    assert f"anyformer=={anyformer.__version__}" in project("papers")["dependencies"]
    assert project()["optional-dependencies"]["papers"] == [f"anyformer-papers=={anyformer.__version__}"]


def names(requirements: list[str]) -> set[str]:
    return {re.match(r"[\w-]+", line)[0].lower().replace("_", "-") for line in requirements}


def imported(paths: list[Path]) -> set[str]:
    """The packages that files import."""
    found = set()
    for path in paths:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                found.add(node.module.split(".")[0])
    outside = found - set(sys.stdlib_module_names)
    return {MODULES.get(name, name).lower().replace("_", "-") for name in outside}


def test_what_is_imported_is_declared() -> None:
    declared = names(project()["dependencies"])
    optional = {
        name
        for extra in ("peers", "bench", "tokenizers", "references")
        for name in names(project()["optional-dependencies"][extra])
    }
    used = imported(SOURCES) - {"anyformer"}
    assert used <= declared | optional, f"not in pyproject.toml: {sorted(used - declared - optional)}"
    unused = declared - used - UNSEEN
    assert not unused, f"declared but never imported: {sorted(unused)}"


def test_what_the_papers_import_is_declared() -> None:
    declared, used = names(project("papers")["dependencies"]), imported(PAPERS) - {"anyformer-papers"}
    assert used == declared


def test_the_package_loads_models_and_makes_them() -> None:
    import anyformer
    from anyformer.models import create_model
    from anyformer.train import load_bundle

    assert anyformer.load is load_bundle and anyformer.create_model is create_model
    assert {"load", "create_model"} <= set(anyformer.__all__)
    with pytest.raises(AttributeError, match="no attribute 'laod'"):
        _ = anyformer.laod
