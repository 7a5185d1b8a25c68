"""Python files that name parts (``mine.py:MyMixer``): when they may run, and how they are saved with a model.

Files that the user types are run. Files named by another *file* (the ``config.json`` of a folder from elsewhere, a spec
in YAML, the plan of a comparison) are run only with ``trust_code=True``.
"""

from __future__ import annotations

import ast
import importlib.util
import json
import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from hashlib import sha256
from pathlib import Path
from types import ModuleType
from typing import Any

MARK = ".py:"
"""Mark of ``file.py:Name``, as opposed to a registered name; :class:`anyformer.registry.Registry` looks for it."""
MODULE = "_anyformer_file_"
"""Beginning of the names under which such files are imported."""
FOLDER = "code"
INDEX = "code.json"
MOST_BYTES = 10_000_000

_modules: dict[tuple[str, str], ModuleType] = {}
"""Modules by resolved path and by digest of the file and its neighbours."""
_sources: dict[str, dict[str, bytes]] = {}
"""By name of a file, as given and absolute, its text and those of neighbours that it imports, as they were run."""
_loaded: dict[str, bytes] = {}
"""The text of every neighbour that was loaded, by the name of its module."""
_running: list[str] = []


def files_running() -> list[str]:
    """Return the files that are being imported now, the outermost first."""
    return list(_running)


def named_files(config: Any) -> list[str]:
    """Find every ``file.py:Name`` in a configuration, at any depth and within specs on one line, each once."""
    found: list[str] = []
    for text in _strings(config):
        if MARK in text:
            alone = re.fullmatch(r"[^\[\](),=\"']*\.py:\w+", text)
            found += [text] if alone else re.findall(r"[^\s\[\](),=\"']*\.py:\w*", text) or [text]
    return list(dict.fromkeys(found))


def refuse_code(config: Any, where: str | Path, *, trust_code: bool | None = False) -> None:
    """Raise if a configuration that was loaded from a file names Python files to run.

    Args:
        config: the loaded mappings, lists and scalars.
        where: the file it was loaded from, for the message.
        trust_code: allow it; None if it cannot be allowed.

    Raises:
        ValueError: naming the first such file and how to allow it.
    """
    files = [] if trust_code else named_files(config)
    if files:
        remedy = "code is never run from here"
        if trust_code is not None:
            remedy = (
                "look at it, and where you trust it pass trust_code=True (on the command line, --trust-code)"
            )
        raise ValueError(f"{str(where)!r} names Python code to run: {files[0]!r}; {remedy}")


def code_paths(names: Iterable[str]) -> list[Path]:
    """Return the files of names (``file.py:Name``) and the neighbours that they import, without missing ones."""
    found: dict[Path, None] = {}
    for name in names:
        file = Path(name.rpartition(":")[0])
        if file.is_file():
            found.update({file.parent / near: None for near in _with_neighbours(file)})
    return list(found)


def load_file(named: str) -> ModuleType:
    """Import a Python file, which may import modules and packages beside it.

    It runs once in a process, and again if its text has changed. Its text and its neighbours' are kept for
    :func:`save_code`.

    Raises:
        ValueError: there is no such file, it is not Python, or another module of a neighbour's name is loaded already.
    """
    path = Path(named)
    if not path.is_file():
        raise ValueError(f"there is no file {named!r}")
    files = _with_neighbours(path)
    full = str(path.resolve())
    key = (full, _digest(files))
    if key not in _modules:
        _check_loaded(named, files)
        _modules[key] = _run(path, f"{MODULE}{path.stem}_{_digest({full: key[1].encode()})}")
    _sources[named] = _sources[os.path.abspath(named)] = files
    return _modules[key]


def module_name(module: str) -> str:
    """Return the name of a module, of a user's file the same for all its copies and texts."""
    return module.removeprefix(MODULE).rpartition("_")[0] if module.startswith(MODULE) else module


def _digest(files: Mapping[str, bytes]) -> str:
    return sha256(b"\0".join(k.encode() + b"\0" + v for k, v in sorted(files.items()))).hexdigest()[:12]


def _run(path: Path, name: str) -> ModuleType:
    """Run a file as a module, with its folder first on the import path."""
    folder = str(path.resolve().parent)
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    sys.path.insert(0, folder)
    _running.append(str(path))
    try:
        spec.loader.exec_module(module)
    except BaseException as error:
        del sys.modules[name]
        if isinstance(error, SyntaxError):
            raise ValueError(
                f"{error.filename!r} is not Python: {error.msg}, in line {error.lineno}"
            ) from None
        raise
    finally:
        sys.path.remove(folder)
        _running.pop()
    if folder not in sys.path:
        sys.path.append(folder)  # for later imports; last, so that it shadows nothing
    return module


def _check_loaded(named: str, files: Mapping[str, bytes]) -> None:
    """Raise if a neighbour's name is that of another loaded module with a different text."""
    for file, text in files.items():
        parts = Path(file).with_suffix("").parts
        dotted = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        if file == Path(named).name:
            continue
        place = getattr(sys.modules.get(dotted), "__file__", None) or "Python itself"
        own = (
            Path(place).resolve() == Path(named).resolve().parent / file
        )  # imported by the script, as it may be
        if dotted in sys.modules and not own and _loaded.get(dotted) != text:
            raise ValueError(
                f"{named!r} imports {dotted!r} from its own folder, and another module of that name is loaded "
                f"already, from {place}: rename it, or start a new process"
            )
        _loaded[dotted] = text


def save_code(config: Any, folder: Path) -> None:
    """Write copies of the files that a model's configuration names, as they were when they ran.

    ``code/<id>/`` holds each file with the modules of its folder that it imports; ``code.json`` maps names to copies,
    with their SHA-256. Nothing is written if the configuration names none; what is there from another one stays.
    """
    index = _read_index(folder / INDEX) if (folder / INDEX).is_file() else {"names": {}, "sha256": {}}
    names, hashes = index["names"], index["sha256"]
    for full in named_files(config):
        named = full.rpartition(":")[0]
        if named not in _sources:
            continue
        files = _sources[named]
        place = _digest(files)
        for name, text in files.items():
            copy = folder / FOLDER / place / name
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(text)
            hashes[f"{place}/{name}"] = sha256(text).hexdigest()
        names[named] = f"{place}/{Path(named).name}"
    if names:
        (folder / INDEX).write_text(
            json.dumps({"names": names, "sha256": hashes}, indent=1), encoding="utf-8"
        )


def trusted_config(config: Any, folder: Path, *, trust_code: bool, where: str = "config.json") -> Any:
    """Return the configuration of a saved model, with Python files replaced by the copies saved with it.

    Args:
        config: the loaded mappings, lists and scalars.
        folder: of the model.
        trust_code: allow it to name files.
        where: the file in the folder that it was loaded from, for messages.

    Raises:
        ValueError: it names files and ``trust_code`` is false, or a copy is not what was saved.
    """
    refuse_code(config, folder / where, trust_code=trust_code)
    if not named_files(config) or not (folder / INDEX).is_file():
        return config
    index = _read_index(folder / INDEX)
    for name, expected in index["sha256"].items():
        path = folder / FOLDER / name
        if not path.is_file() or sha256(path.read_bytes()).hexdigest() != expected:
            raise ValueError(f"{str(path)!r} is missing or not the file that was saved with the model")
    copies = {named: str(folder / FOLDER / copy) for named, copy in index["names"].items()}
    return _renamed(config, copies)


def _read_index(path: Path) -> dict[str, dict[str, str]]:
    try:
        index = json.loads(path.read_text(encoding="utf-8"))
        names, hashes = dict(index["names"]), dict(index["sha256"])
        fits = all(copy in hashes for copy in names.values()) and all(
            isinstance(name, str) and ".." not in Path(name).parts and not Path(name).is_absolute()
            for name in hashes
        )
    except (OSError, ValueError, KeyError, TypeError):
        fits = False
    if not fits:
        raise ValueError(
            f"{str(path)!r} is damaged: it must name the Python files that were saved with the model"
        )
    return {"names": names, "sha256": hashes}


def _renamed(config: Any, copies: Mapping[str, str]) -> Any:
    if isinstance(config, str):
        named, colon, name = config.rpartition(":")
        return f"{copies[named]}:{name}" if colon and named in copies else config
    if isinstance(config, Mapping):
        return {key: _renamed(value, copies) for key, value in config.items()}
    if isinstance(config, (list, tuple)):
        return [_renamed(value, copies) for value in config]
    return config


def _strings(config: Any) -> Iterator[str]:
    if isinstance(config, str):
        yield config
    elif isinstance(config, Mapping):
        for key, value in config.items():
            yield from _strings(key)
            yield from _strings(value)
    elif isinstance(config, (list, tuple)):
        for value in config:
            yield from _strings(value)


def _with_neighbours(file: Path) -> dict[str, bytes]:
    """Return the texts of a file and of its imports from its own folder, by POSIX path relative to that folder."""
    found: dict[str, bytes] = {}
    root, waiting, total = file.resolve().parent, [Path(file.name)], 0
    while waiting:
        relative = waiting.pop()
        name = relative.as_posix()
        if name in found:
            continue
        found[name] = (root / relative).read_bytes()
        total += len(found[name])
        if total > MOST_BYTES:
            raise ValueError(f"{str(file)!r} imports more than {MOST_BYTES:,} bytes of its neighbours' code")
        for module in _imports(found[name], relative):
            base = Path(*module.split("."))
            near = [base.with_suffix(".py"), base / "__init__.py"]
            near += [parent / "__init__.py" for parent in base.parents if parent != Path()]
            waiting += [path for path in near if (root / path).is_file()]
    return found


def _imports(text: bytes, relative: Path) -> Iterator[str]:
    """Yield full names of the modules that a file may import from its own folder or package."""
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError):
        return
    package = relative.parent.parts
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) + 1 - node.level] if node.level else ()
            base = ".".join([*above, *([node.module] if node.module else [])])
            if base:
                yield base
            yield from (f"{base}.{alias.name}" if base else alias.name for alias in node.names)
