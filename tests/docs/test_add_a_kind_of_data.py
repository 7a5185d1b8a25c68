"""A kind of data is added as the page says, and then compared, trained on and predicted."""

from __future__ import annotations

import csv
import os
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from anyformer.cli import app
from anyformer.tasks.readers import readers

PAGE = "add_a_kind_of_data.md"
MOST = 200
"""Lines that a kind of data may take."""


@pytest.fixture(scope="module")
def tracks() -> dict[str, bytes]:
    """The tracks that are made, by the names of their files; empty before."""
    return {}


@pytest.fixture(autouse=True)
def files(
    blocks_of: Callable[[str], list[Any]], tmp_path: Path, run: Any, tracks: dict[str, bytes]
) -> dict[str, str]:
    """The files of the page by name, which lie in the folder, as do the tracks that one of them makes."""
    found = {b.title: b.text for b in blocks_of(PAGE) if (b.title or "").endswith(".py")}
    assert set(found) == {"gpx.py", "test_gpx.py", "make_tracks.py"}
    for name, text in found.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    if not tracks:
        run([sys.executable, "make_tracks.py"])
        tracks.update({path.name: path.read_bytes() for path in tmp_path.glob("*.gpx")})
    for name, data in tracks.items():
        (tmp_path / name).write_bytes(data)
    return found


@pytest.fixture
def commands(blocks_of: Callable[[str], list[Any]]) -> dict[str, list[str]]:
    """The commands of the page by their second word, with few steps of a small model."""
    (shell,) = [block.text for block in blocks_of(PAGE) if block.kind == "sh"]
    short = shell.replace("--budget 60s", "--budget '4 steps'").replace("--steps 100", "--steps 20")
    short = short.replace("--models mamba,transformer", "--models 'mamba dim=16 depth=1'")
    short = short.replace("--model mamba", "--model 'mamba dim=16 depth=1'")
    assert short.count("steps") == 2 and short.count("depth=1") == 2
    return {line.split()[1]: shlex.split(line) for line in short.splitlines()}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[list[str]], str]:
    """Run a command of ours that must succeed, in this process, which knows no new reader afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(readers, "_entries", {entry.id: entry for entry in readers})

    def go(command: list[str]) -> str:
        done = CliRunner().invoke(app, command[1:])
        assert done.exit_code == 0, done.output
        return done.output

    return go


def types(path: Path) -> list[str]:
    with path.open() as file:
        return [row["type"] for row in csv.DictReader(file)]


def test_it_is_short_and_its_test_passes(files: dict[str, str], run: Any) -> None:
    assert len(files["gpx.py"].splitlines()) < MOST
    run([sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_gpx.py"])


def test_tracks_are_trained_on_and_told(commands: dict[str, list[str]], here: Any, tmp_path: Path) -> None:
    said = here(commands["train"])
    assert "Use it: anyformer predict tracks-model DATA --trust-code" in said
    (tmp_path / "gpx.py").unlink()  # the model has its own copy
    here(commands["predict"])
    found = types(tmp_path / "types.csv")
    assert len(found) == 10 and set(found) <= {"walk", "ride", "drive"} and len(set(found)) > 1


def test_it_obeys_the_laws(commands: dict[str, list[str]], here: Any) -> None:
    assert " 0 broken" in here([*commands["check"], "--workers", "1"])


def test_tracks_are_compared(commands: dict[str, list[str]], run: Any, tmp_path: Path) -> None:
    said = run(commands["compare"])
    assert "boosted trees" in said and (tmp_path / "report" / "report.html").exists()
    assert (tmp_path / "report" / "winner" / "code.json").exists()


def test_python_runs(blocks_of: Callable[[str], list[Any]], run: Any, tmp_path: Path) -> None:
    script = "\n".join(b.text for b in blocks_of(PAGE) if b.kind == "python" and not b.title)
    (tmp_path / "page.py").write_text(script, encoding="utf-8")
    said = run([sys.executable, "page.py"])
    assert "Tell which of 3 values type has." in said and "there are 40" in said


def test_an_entry_point_makes_it_known(
    blocks_of: Callable[[str], list[Any]], run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As for a package that is installed: without naming the reader, and without trust at prediction."""
    (block,) = [block.text for block in blocks_of(PAGE) if block.kind == "toml"]
    group, point = block.split('"')[1], block.splitlines()[1].replace("your_package.", "").replace('"', "")
    folder = tmp_path / "installed" / "tracks-1.0.dist-info"
    folder.mkdir(parents=True)
    (folder / "entry_points.txt").write_text(f"[{group}]\n{point}\n")
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: tracks\nVersion: 1.0\n")
    (tmp_path / "gpx.py").rename(tmp_path / "installed" / "gpx.py")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path / "installed")]))
    run(
        shlex.split(
            "anyformer train tracks.gpx --length 30 --model 'mamba dim=16 depth=1' --steps 2 --out model"
        )
    )
    run(["anyformer", "predict", "model", "new.gpx", "--out", "types.csv"])
    assert len(types(tmp_path / "types.csv")) == 10
