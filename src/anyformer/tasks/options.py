"""Options typed on the command line, parsed by the types of the task's arguments."""

from __future__ import annotations

import inspect
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from types import NoneType
from typing import Any, Literal, get_args, get_origin, get_type_hints

import yaml
from pydantic import TypeAdapter, ValidationError

from anyformer.spelling import option
from anyformer.tasks import tasks
from anyformer.tasks.readers import options_by_kind, reader_named, reader_of, readers


def typed_options(source: str | os.PathLike[str] | None, typed: Sequence[str]) -> dict[str, Any]:
    """Parse ``["length=64", "group=[store, item]"]`` as arguments of the task that ``source`` names or makes.

    An option of type str is taken literally: NO, 1.0 and null stay as they are. Several names are separated by commas,
    or a list in brackets. Without a type annotation, the value is parsed as YAML.

    Raises:
        ValueError: not ``name=value``, a name given twice, or a value of the wrong type.
    """
    named = next((pair.partition("=")[2] for pair in typed if pair.startswith("reader=")), None)
    hints = {} if source is None else _hints_of(os.fspath(source), named)
    found: dict[str, Any] = {}
    for pair in typed:
        name, equals, text = pair.partition("=")
        if not equals or not name:
            raise ValueError(f"--option must be written name=value, got {pair!r}")
        if name in found:
            raise ValueError(f"{option(name)} is given twice")
        found[name] = _read(name, text, hints.get(name))
    return found


def options_of_data() -> dict[str, dict[str, str]]:
    """Return the options of each kind of data with their meanings, from the readers' docstrings."""
    named = options_by_kind()
    found: dict[str, dict[str, str]] = {}
    for entry in readers:
        meanings = _meanings(entry.target.open)
        found |= {
            title: {name: meanings[name] for name in named[title]} for title in entry.target.by_section()
        }
    return {title: found[title] for title in named if found[title]}


def flags_of_data() -> dict[str, bool]:
    """Return the names of all options of data, True for those that are true or false."""
    found = {"reader": False}
    for entry in readers:
        hints = _hints(entry.target.open)
        found |= {
            name: bool in (hints[name], *get_args(hints[name]))
            for name in entry.target.options()
            if name != "target"
        }
    return found


def _hints_of(source: str, named: str | None) -> dict[str, Any]:
    """Return types by option of the task or data; of those of all readers where the data is not of its own."""
    if source in tasks or ".py:" in source:
        return _hints(tasks.get(source).target)
    found: dict[str, Any] = {"reader": str}
    for entry in readers:
        found |= _hints(entry.target.open)
    if named is not None:
        return found | _hints(reader_named(named).open)
    return found | (_hints(reader_of(Path(source)).open) if Path(source).exists() else {})


def _hints(maker: Callable[..., Any]) -> dict[str, Any]:
    """Return types by argument; empty if annotations cannot be resolved."""
    try:
        return get_type_hints(maker.__init__ if inspect.isclass(maker) else maker)
    except Exception:  # annotations in other people's code may not resolve
        return {}


def _read(name: str, text: str, hint: Any) -> Any:
    members = [member for member in (get_args(hint) or (hint,)) if member is not NoneType]
    if get_origin(hint) is Literal:
        members = [str]
    texts = any(member is str or get_origin(member) is Literal for member in members)
    if hint is None or hint is Any:
        return _yaml(name, text, yaml.SafeLoader)
    if (
        texts
        and any(get_origin(member) in (list, Sequence) for member in members)
        and text[:1] + text[-1:] == "[]"
    ):
        return _yaml(name, text, yaml.BaseLoader)
    if texts:
        return text[1:-1] if len(text) > 2 and text[0] == text[-1] in "'\"" else text
    try:
        return TypeAdapter(hint).validate_python(text)
    except ValidationError:
        return _yaml_of(name, text, hint)


def _yaml_of(name: str, text: str, hint: Any) -> Any:
    value = _yaml(name, text, yaml.SafeLoader)
    lists = any(get_origin(member) in (list, Sequence) for member in (get_args(hint) or (hint,)))
    if lists and not isinstance(value, list):
        value = _yaml(name, f"[{text}]", yaml.SafeLoader)
    try:
        return TypeAdapter(hint).validate_python(value)
    except ValidationError:
        members = [one for one in (get_args(hint) or (hint,)) if one is not NoneType]
        asked = " or ".join(getattr(one, "__name__", str(one)) for one in members)
        raise ValueError(f"{option(name)} must be of the type {asked}, got {text!r}") from None


def _yaml(name: str, text: str, loader: Any) -> Any:
    try:
        return yaml.load(text, Loader=loader)
    except yaml.YAMLError:
        raise ValueError(f"{option(name)}: {text!r} cannot be read") from None


def _meanings(function: Callable[..., Any]) -> dict[str, str]:
    """Return the description of each argument in the Args of a docstring."""
    text = (inspect.getdoc(function) or "").partition("Args:\n")[2].partition("\n\n")[0]
    found: dict[str, str] = {}
    for match in re.finditer(r"^    (\w+(?:, \w+)*): (.*(?:\n        .*)*)", text, re.M):
        meaning = re.sub(r"\s+", " ", match[2]).replace("``", "")
        meaning = re.sub(r":\w+:`([^`]*)`", r"\1", meaning)
        found |= dict.fromkeys(match[1].split(", "), meaning)
    return found
