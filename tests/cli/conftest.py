"""Commands run in this process, and what a mistake looks like."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from typer.testing import CliRunner

from anyformer.cli import app
from anyformer.cli.main import console

Run = Callable[..., tuple[int, str]]
"""Exit code and output of a command, given its words."""


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a command; its tables are not folded, whatever the terminal."""
    monkeypatch.setattr(console, "_width", 300)

    def command(*args: object) -> tuple[int, str]:
        result = CliRunner().invoke(app, [str(a) for a in args])
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result.exit_code, result.output

    return command


@pytest.fixture
def mistake(run: Run) -> Callable[..., None]:
    """Hold a command to one line that says ``message``."""

    def check(args: tuple[object, ...], message: str) -> None:
        code, text = run(*args)
        assert code == 2
        assert "error: " in text
        assert message in text
        assert "Traceback" not in text
        assert len(text.strip().splitlines()) == 1

    return check
