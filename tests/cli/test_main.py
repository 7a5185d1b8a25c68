"""How commands end: well, in one line for a mistake, in a traceback for a fault."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tests.cli.conftest import Run

from anyformer.cli.main import long_form
from anyformer.cli.mistakes import REPORT


def test_the_version(run: Run) -> None:
    code, text = run("--version")
    assert code == 0 and text.startswith("anyformer 0.")


@pytest.mark.parametrize("command", ["compare", "train"])
def test_help_ends_with_the_options_of_data(command: str, run: Run) -> None:
    code, text = run(command, "--help")
    assert code == 0 and "--option name=value, or --name value, for" in text
    assert text.rstrip().endswith("Tasks by name have options of their own: anyformer list tasks.")


def test_an_option_that_is_given_twice(mistake: Callable[..., None]) -> None:
    args = ("compare", "recall", "--target", "a", "--option", "target=b")
    mistake(args, "--target and --option target are both given")


def test_a_value_error_out_of_numpy_is_shown_as_a_fault_of_ours(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("anyformer.mixers.mixers.get", lambda _: np.stack([]))
    code, text = run("check", "attention")
    assert code == 1
    assert "Traceback (most recent call last)" in text and "need at least one array to stack" in text
    assert text.rstrip().endswith(f"error: {REPORT}")


def test_what_a_file_of_the_users_raises_is_shown_as_its_fault(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text("len(5)\n", encoding="utf-8")
    code, text = run("check", f"{file}:Mine")
    assert code == 1
    assert "len(5)" in text and text.rstrip().endswith(f"error: {file} failed, as the lines above show")


@pytest.mark.parametrize(
    ("typed", "long"),
    [
        (["d.csv", "--horizon", "8"], ["d.csv", "--option", "horizon=8"]),
        (["--horizon=8", "d.csv"], ["--option", "horizon=8", "d.csv"]),
        (["--raw", "d.csv"], ["--option", "raw=true", "d.csv"]),
        (["--raw=false", "d.csv"], ["--option", "raw=false", "d.csv"]),
        (
            ["--group", "store,item", "--date-format", "%d.%m"],
            ["--option", "group=store,item", "--option", "date_format=%d.%m"],
        ),
        (["--target", "y", "--kind", "classify"], ["--target", "y", "--option", "kind=classify"]),
        (["--missing", "-"], ["--option", "missing=-"]),
        (["--budgte", "5m"], ["--budgte", "5m"]),
        (["--", "--horizon", "8"], ["--", "--horizon", "8"]),
    ],
)
def test_options_of_data_have_a_short_form(typed: list[str], long: list[str]) -> None:
    assert long_form(typed, {"--target", "--budget"}) == long


def test_a_short_option_is_named_as_it_was_typed(run: Run, tmp_path: Path) -> None:
    rows = "\n".join(f"{i % 7},{'uv'[i % 2]}" for i in range(60))
    (tmp_path / "rows.csv").write_text(f"a,b\n{rows}\n")
    train = (
        "train",
        str(tmp_path / "rows.csv"),
        "--model",
        "mamba",
        "--target",
        "b",
        "--out",
        str(tmp_path / "m"),
    )
    code, text = run(*train, "--kind", "clasify")
    assert code == 2 and "--kind must be one of" in text and "did you mean 'classify'" in text
    code, text = run(*train, "--option", "kind=clasify")
    assert code == 2 and "--option kind must be one of" in text
    code, text = run(*train, "--kind")
    assert code == 2 and "--kind" in text and "needs a value" in text
    code, text = run(*train, "--budgte", "5m")
    assert code == 2 and "No such option" in text
