"""Spelling of a task's options in messages: as Python arguments, or as on the command line."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar

_COMMAND_LINE: ContextVar[bool] = ContextVar("anyformer_command_line", default=False)
_SHORT: ContextVar[frozenset[str]] = ContextVar("anyformer_short_options", default=frozenset())
_OWN = (
    *("target", "metric", "models", "budget", "out", "more", "future"),
    *(
        "hold",
        "equal",
        "seeds",
        "workers",
        "parameters",
        "batch_size",
        "patience",
        "max_latency",
        "max_bytes",
    ),
)
"""Arguments that the commands have as options of their own."""


@contextmanager
def command_line() -> Iterator[None]:
    """Spell options as on the command line in messages made inside."""
    token = _COMMAND_LINE.set(True)
    try:
        yield
    finally:
        _COMMAND_LINE.reset(token)
        _SHORT.set(frozenset())


def spell_short(name: str) -> None:
    """Spell an option of data as ``--name``, as it was typed, until :func:`command_line` ends."""
    _SHORT.set(_SHORT.get() | {name})


def option(name: str, value: str | Sequence[str] | bool | None = None) -> str:
    """Return an option as the user types it, with its value if one is given.

    >>> option("group", "store"), option("target", ["a", "b"]), option("raw", True), option("date")
    ("group='store'", "target=['a', 'b']", 'raw=True', 'date')
    >>> with command_line():
    ...     option("group", "store"), option("target", ["a", "b"]), option("raw", True), option("date")
    ('--option group=store', '--target a,b', '--option raw=true', '--option date')
    """
    if not _COMMAND_LINE.get():
        return name if value is None else f"{name}={value!r}"
    own = name in _OWN or name in _SHORT.get()
    words = f"--{name.replace('_', '-')}" if own else f"--option {name}"
    if value is None:
        return words
    if isinstance(value, bool):
        text = str(value).lower()
    else:
        text = _shell_word(value if isinstance(value, str) else ",".join(value))
    return f"{words} {text}" if own else f"{words}={text}"


def _shell_word(text: str) -> str:
    from shlex import quote

    return quote(text)
