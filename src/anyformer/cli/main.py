"""The app that commands are added to, what they share, and how they end."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable
from functools import cache, wraps
from typing import Annotated, Any, ParamSpec, TypeVar

import typer
from rich.markup import escape
from rich.table import Table
from typer.core import TyperCommand

from anyformer.cli.mistakes import explain, origin
from anyformer.spelling import command_line, spell_short
from anyformer.terminal import new_console

METRIC_HELP = (
    "What to rank by, such as f1, auc or rmse; by default the task's own. Of several between commas, the others are "
    "measured besides. See anyformer list metrics."
)
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
    """Decorate ``command`` so that a user's mistake ends it in one message and exit code 2.

    What is no mistake of the user's ends it in the traceback and exit code 1; see :mod:`anyformer.cli.mistakes`.
    """

    command.__doc__ = escape(command.__doc__ or "")  # help is read as markup, and specs have brackets

    @wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            with command_line():
                return command(*args, **kwargs)
        except (typer.Exit, typer.Abort):
            raise
        except Exception as error:
            mistake = origin(error) == "mistake"
            if not mistake:
                errors.print("".join(traceback.format_exception(error)), end="", soft_wrap=True)
            errors.print("error: ", style="bold red", end="")
            errors.print(explain(error), soft_wrap=True)
            raise typer.Exit(2 if mistake else 1) from None
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


def task_of(
    data: str | None, target: str | None, metric: str | None, pairs: list[str] | None
) -> tuple[str | list[str] | None, dict[str, Any]]:
    """Return the target and the other options of a task, its metric included; ``--option`` may give them too."""
    own = {name: value for name, value in (("target", target), ("metric", metric)) if value is not None}
    if not pairs:
        options: dict[str, Any] = {}
    else:
        from anyformer.tasks.options import typed_options

        options = typed_options(data, pairs)
    for name in own:
        if name in options:
            raise ValueError(f"--{name} and --option {name} are both given")
    options |= own
    return options.pop("target", None), options


class DataCommand(TyperCommand):
    """A command that takes the options of each kind of data, and whose help ends with them.

    ``--horizon 8`` and ``--horizon=8`` are ``--option horizon=8``, and ``--raw`` is ``--option raw=true``.
    """

    def parse_args(self, ctx: typer.Context, args: list[str]) -> list[str]:  # type: ignore[override]
        """Parse the arguments after options of data have got their long form."""
        own = {name for parameter in self.params for name in (*parameter.opts, *parameter.secondary_opts)}
        return super().parse_args(ctx, long_form(args, {*own, *ctx.help_option_names}))

    def format_help(self, ctx: typer.Context, formatter: Any) -> None:  # type: ignore[override]
        """Print the help."""
        super().format_help(ctx, formatter)
        from anyformer.tasks.options import options_of_data

        for kind, options in options_of_data().items():
            table = Table(
                title=f"--option name=value, or --name value, for {kind}",
                title_justify="left",
                box=None,
                pad_edge=True,
            )
            table.add_column("name", no_wrap=True, style="cyan")
            table.add_column("meaning")
            for name, meaning in options.items():
                table.add_row(name, meaning)
            console.print(table)
            console.print()
        console.print(
            "--reader NAME, or FILE.py:CLASS for your own, reads the data as another kind: anyformer list readers."
        )
        console.print("Tasks by name have options of their own: anyformer list tasks.")


def long_form(args: list[str], own: set[str]) -> list[str]:
    """Return arguments in which ``--name value`` is ``--option name=value`` for each option of data.

    Args:
        args: as typed.
        own: options of the command, which stay as they are.
    """
    found, rest = list[str](), list(args)
    while rest:
        word = rest.pop(0)
        if word == "--":
            return [*found, word, *rest]
        typed, equals, value = word.partition("=")
        name = typed.removeprefix("--").replace("-", "_")
        if not typed.startswith("--") or typed in own or name not in _options_of_data():
            found.append(word)
            continue
        if not equals:
            follows = bool(rest) and not rest[0].startswith("--")
            if not follows and not _options_of_data()[name]:
                raise typer.BadParameter("it needs a value", param_hint=typed)
            value = rest.pop(0) if follows and not _options_of_data()[name] else "true"
        spell_short(name)
        found += ["--option", f"{name}={value}"]
    return found


@cache
def _options_of_data() -> dict[str, bool]:
    """True for each option of data that is a flag."""
    from anyformer.tasks.options import flags_of_data

    return flags_of_data()


def utf8_output() -> None:
    """Let tables print on consoles whose encoding is not UTF-8."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")


utf8_output()
