"""Tell a user's mistake from a fault of this library, by where an exception was raised.

The library refuses bad input by ``raise ValueError(...)`` in its own code. A ValueError from PyTorch, NumPy or pandas,
or from an ``int(...)`` or an unpacking in one of our lines, was not written for a user: it is a fault of the library.
"""

from __future__ import annotations

import dis
from functools import cache
from importlib.metadata import entry_points
from types import TracebackType
from typing import Literal

from anyformer.machine import is_memory_error
from anyformer.user_code import MODULE

Origin = Literal["mistake", "user's code", "library"]
PACKAGES = frozenset({"anyformer", "anyformer_papers"})
RAISE = dis.opmap["RAISE_VARARGS"]
REPORT = (
    "this is a fault of anyformer and not of what you gave it: please report it as an issue of the project's "
    "repository, with the lines above and the command that you typed"
)


def origin(error: Exception) -> Origin:
    """Return who has to act on ``error``.

    - ``"mistake"``: the user, and the message says what to do. A ``ValueError`` from a ``raise`` statement in our code,
      in a Python file of the user's or in a package that extends this one; an error of the operating system; or memory
      that cannot be allocated.
    - ``"user's code"``: the author of such a file or package, which failed.
    - ``"library"``: we.
    """
    if isinstance(error, OSError) or is_memory_error(error):
        return "mistake"
    places = [link for link in _links(error.__traceback__) if _is_ours(link) or _is_users(link)]
    if not places:
        return "library"
    if isinstance(error, ValueError) and places[-1].tb_next is None and _is_raise(places[-1]):
        return "mistake"
    return "user's code" if _is_users(places[-1]) else "library"


def explain(error: Exception) -> str:
    """Return the last line that a command prints of ``error``."""
    who = origin(error)
    if who == "library":
        return REPORT
    if who == "user's code":
        link = next(link for link in reversed(_links(error.__traceback__)) if _is_users(link))
        return f"{link.tb_frame.f_code.co_filename} failed, as the lines above show"
    return str(error) or type(error).__name__


def _links(trace: TracebackType | None) -> list[TracebackType]:
    """Return the entries of a traceback, the outermost call first."""
    found: list[TracebackType] = []
    while trace is not None:
        found.append(trace)
        trace = trace.tb_next
    return found


def _is_ours(link: TracebackType) -> bool:
    return _package(link) in PACKAGES


def _is_users(link: TracebackType) -> bool:
    return _package(link).startswith(MODULE) or _package(link) in _extensions()


def _package(link: TracebackType) -> str:
    return str(link.tb_frame.f_globals.get("__name__")).partition(".")[0]


@cache
def _extensions() -> frozenset[str]:
    """Return the packages of others that register parts by entry points."""
    points = entry_points()
    groups = [group for group in points.groups if group.startswith("anyformer.")]
    found = {point.module.partition(".")[0] for group in groups for point in points.select(group=group)}
    return frozenset(found - PACKAGES)


def _is_raise(link: TracebackType) -> bool:
    """True if the frame failed in a ``raise`` statement, and not in a call or an unpacking."""
    return link.tb_frame.f_code.co_code[link.tb_lasti] == RAISE
