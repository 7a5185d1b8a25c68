"""``anyformer papers``: the commands of the package anyformer-papers, where it is installed."""

from __future__ import annotations

from importlib.metadata import entry_points

from anyformer.cli.main import app, one_message

ANY = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}


@one_message
def _missing() -> None:
    """The executable bibliography: needs pip install 'anyformer[papers]'."""
    raise ValueError("anyformer papers needs the package anyformer-papers: pip install 'anyformer[papers]'")


_found = list(entry_points(group="anyformer.commands", name="papers"))
if _found:
    app.add_typer(_found[0].load(), name="papers")
else:
    app.command("papers", context_settings=ANY)(_missing)
