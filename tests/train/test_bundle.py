"""Folders with a model: who may read them, and what is said where somebody may not."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from anyformer.convert.checkpoint import read_checkpoint
from anyformer.models import create_model
from anyformer.train import load_bundle

pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows has no umask")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    before = os.umask(0o022)
    create_model("transformer dim=16 depth=1", vocab_size=4).save_pretrained(tmp_path / "model")
    os.umask(before)
    return tmp_path / "model"


def test_saved_files_are_readable_by_the_umask(folder: Path) -> None:
    assert {file.name: oct(stat.S_IMODE(file.stat().st_mode)) for file in folder.iterdir()} == {
        name: "0o644" for name in ("config.json", "model.safetensors", "README.md")
    }


def test_a_permission_problem_is_called_one(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    weights = folder / "model.safetensors"
    weights.chmod(0)
    if os.access(weights, os.R_OK):  # root may read everything: let opening it fail as it does for others
        real = Path.open

        def refuse(path: Path, *args: object, **options: object) -> object:
            if path == weights:
                raise PermissionError(13, "Permission denied", str(path))
            return real(path, *args, **options)  # type: ignore[call-overload]

        monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(PermissionError, match="Permission denied"):
        load_bundle(folder)
    with pytest.raises(ValueError, match="Permission denied"):
        read_checkpoint(folder)[1]["x"]
