"""A comparison is finished if its seal and all files under it are whole."""

from __future__ import annotations

from pathlib import Path

import pytest
import synthetic

from anyformer.compare.results.finished import read_finished, remove_finished, write_seal


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    synthetic.results().save(tmp_path / "results.json")
    (tmp_path / "report.html").write_text("a report")
    (tmp_path / "winner").mkdir()
    (tmp_path / "winner" / "model.safetensors").write_bytes(b"weights")
    write_seal(tmp_path)
    return tmp_path


def test_what_is_sealed_is_read(folder: Path) -> None:
    results, damaged = read_finished(folder)
    assert results is not None and results.tasks and damaged == []


@pytest.mark.parametrize("name", ["results.json", "report.html", "winner/model.safetensors"])
@pytest.mark.parametrize("remove", [False, True])
def test_a_damaged_file_is_named(folder: Path, name: str, remove: bool) -> None:
    path = folder / name
    path.unlink() if remove else path.write_bytes(path.read_bytes()[:-1])
    assert read_finished(folder) == (None, [path])


def test_without_a_seal_it_is_not_finished(folder: Path) -> None:
    (folder / "finished.json").write_text("[")
    assert read_finished(folder) == (None, [])
    remove_finished(folder)
    assert list(folder.iterdir()) == []
