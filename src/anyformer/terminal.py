"""Consoles that print text literally: names such as ``[mamba*3, attention]*2`` are no markup."""

from __future__ import annotations

import os

from rich.console import Console

PIPED_WIDTH = 200
"""Width of output to a file or a pipe, so that names stay on one line."""


def new_console(*, quiet: bool = False, stderr: bool = False) -> Console:
    """Create a console that prints text literally, without markup or highlighting."""
    made = Console(quiet=quiet, stderr=stderr, markup=False, highlight=False)
    if not made.is_terminal and not os.environ.get("COLUMNS"):
        made.width = PIPED_WIDTH
    return made
