"""What is printed stays as it is: names such as ``[mamba*3, attention]*2`` are no markup."""

from __future__ import annotations

import os

from rich.console import Console

PIPED_WIDTH = 200
"""Columns where the output goes to a file or a pipe, so that names stay on one line there."""


def new_console(*, quiet: bool = False, stderr: bool = False) -> Console:
    """A console that prints text as it is, without markup or highlighting."""
    made = Console(quiet=quiet, stderr=stderr, markup=False, highlight=False)
    if not made.is_terminal and not os.environ.get("COLUMNS"):
        made.width = PIPED_WIDTH
    return made
