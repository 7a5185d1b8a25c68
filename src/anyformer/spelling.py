"""How messages spell the options of a task: as Python's arguments, or as the command line has them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar

_COMMAND_LINE: ContextVar[bool] = ContextVar("anyformer_command_line", default=False)
_OWN = ("target", "metric")
"""Arguments that are options of the commands themselves."""


@contextmanager
def command_line() -> Iterator[None]:
    """Messages made inside name options as they are typed in a shell."""
    token = _COMMAND_LINE.set(True)
    try:
        yield
    finally:
        _COMMAND_LINE.reset(token)


def option(name: str, value: str | Sequence[str] | bool | None = None) -> str:
    """An option as the user types it, with a value where one is given.

    >>> option("group", "store"), option("target", ["a", "b"]), option("raw", True), option("date")
    ("group='store'", "target=['a', 'b']", 'raw=True', 'date')
    >>> with command_line():
    ...     option("group", "store"), option("target", ["a", "b"]), option("raw", True), option("date")
    ('--option group=store', '--target a,b', '--option raw=true', '--option date')
    """
    if not _COMMAND_LINE.get():
        return name if value is None else f"{name}={value!r}"
    words = f"--{name}" if name in _OWN else f"--option {name}"
    if value is None:
        return words
    if isinstance(value, bool):
        text = str(value).lower()
    else:
        text = _shell_word(value if isinstance(value, str) else ",".join(value))
    return f"{words} {text}" if name in _OWN else f"{words}={text}"


def _shell_word(text: str) -> str:
    from shlex import quote

    return quote(text)
