"""Options of parts by their types: what a constructor's annotations say is read, or refused by name."""

from __future__ import annotations

import functools
import inspect
import types
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

C = TypeVar("C", bound=Callable[..., Any])

TRUE, FALSE = ("true", "yes", "on"), ("false", "no", "off")
_WORDS = {bool: "true or false", int: "a whole number", float: "a number", str: "a text", type(None): "none"}


def read_options(owner: Callable[..., Any], options: Mapping[str, Any], what: str = "") -> dict[str, Any]:
    """Options read by the annotations of a function, or of a class's constructor.

    ``"no"`` is false where a truth value is asked for, a whole float an integer where one is, and None the text
    ``"none"`` where only texts are taken. What is neither a truth value, a number, a text nor None is left as it is.

    Args:
        owner: whose annotations say the types; an argument without one is left as it is.
        options: by name.
        what: who takes them, for messages.

    Raises:
        ValueError: naming the option, what was expected and what came.
    """
    members = _members(owner.__init__ if inspect.isclass(owner) else owner)
    return {
        name: _read(name, value, members[name], what) if name in members else value
        for name, value in options.items()
    }


def typed(init: C) -> C:
    """Decorator: a constructor whose keyword options are read by :func:`read_options`."""

    @functools.wraps(init)
    def read(self: Any, *arguments: Any, **options: Any) -> None:
        init(self, *arguments, **read_options(init, options))

    return read  # type: ignore[return-value]


@cache
def _members(function: Callable[..., Any]) -> dict[str, tuple[Any, ...]]:
    """By argument the types that its annotation allows; those without one, or that cannot be told, are left out."""
    try:
        hints = get_type_hints(function)
    except Exception:  # annotations of other people's code may name what is not there
        return {}
    return {name: _flat(hint) for name, hint in hints.items() if hint is not Any and name != "return"}


def _flat(hint: Any) -> tuple[Any, ...]:
    if get_origin(hint) in (Union, types.UnionType):
        return tuple(member for part in get_args(hint) for member in _flat(part))
    if get_origin(hint) is Literal:
        return tuple(dict.fromkeys(type(value) for value in get_args(hint)))
    return (hint,)


def _read(name: str, value: Any, members: tuple[Any, ...], what: str) -> Any:
    if not isinstance(value, bool | int | float | str | None):
        return value
    if bool in members and isinstance(value, str) and value.lower() in (*TRUE, *FALSE):
        return value.lower() in TRUE
    if type(value) in members:
        return value
    if isinstance(value, int) and not isinstance(value, bool) and float in members:
        return float(value)
    if isinstance(value, float) and value.is_integer() and int in members:
        return int(value)
    if value is None and str in members:
        return "none"
    expected = " or ".join(dict.fromkeys(_WORDS.get(m, getattr(m, "__name__", str(m))) for m in members))
    raise ValueError(f"{what}{': ' if what else ''}{name} must be {expected}, got {value!r}")
