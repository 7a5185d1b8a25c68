"""The commands and how their errors are shown."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from functools import wraps
from typing import Annotated, Any, ParamSpec, TypeVar

import typer
from rich.markup import escape

from anyformer.terminal import new_console

P = ParamSpec("P")
R = TypeVar("R")

app = typer.Typer(
    name="anyformer",
    help="Every sequence architecture as a part with one interface: compare them on your own data.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
console = new_console()
errors = new_console(stderr=True)


def one_message(command: Callable[P, R]) -> Callable[P, R]:
    """A user's mistake (``ValueError``, a missing file) ends in one message and exit code 2, without a traceback."""

    command.__doc__ = escape(command.__doc__ or "")  # help is read as markup, and specs have brackets

    @wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return command(*args, **kwargs)
        except (ValueError, OSError) as error:
            errors.print("error: ", style="bold red", end="")
            # messages name Python's arguments; here those of tasks are set by --option
            message = re.sub(r"\bgive (\w+)=", r"give --option \1=", str(error))
            errors.print(message, soft_wrap=True)
            raise typer.Exit(2) from None
        except KeyboardInterrupt:
            errors.print("stopped")
            raise typer.Exit(130) from None

    return run


def _version(wanted: bool) -> None:
    if wanted:
        import anyformer

        console.print(f"anyformer {anyformer.__version__}")
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Every sequence architecture as a part with one interface: compare them on your own data."""


def options_of(pairs: list[str] | None) -> dict[str, Any]:
    """``["length=64", "name=x"]`` as a dict, numbers and booleans read as such."""
    import yaml

    found: dict[str, Any] = {}
    for pair in pairs or []:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise ValueError(f"--option must be written name=value, got {pair!r}")
        found[key] = yaml.safe_load(value)
    return found


def utf8_output() -> None:
    """Let tables print on consoles whose encoding is not UTF-8."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")


utf8_output()

from anyformer.cli import checks, comparing, papers, parts, use  # noqa: E402, F401
