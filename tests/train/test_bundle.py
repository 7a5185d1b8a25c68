"""Folders with a model: who may read them, and what is said where somebody may not."""

from __future__ import annotations

import json
import os
import shutil
import stat
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import torch

from anyformer.convert.checkpoint import read_checkpoint
from anyformer.models import create_model
from anyformer.tasks import DataError, create_task
from anyformer.train import load_bundle, save_bundle

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


class Killed(BaseException):
    pass


def _replace_until(number: int) -> Callable[..., None]:
    """``os.replace`` which is killed instead of its call of that number."""
    real, calls = os.replace, count()

    def replace(source: str, target: str) -> None:
        if next(calls) == number:
            raise Killed
        real(source, target)

    return replace


def test_a_kill_while_saving_leaves_one_bundle_or_the_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed before each renaming, after which nothing is cleaned up either."""
    task = create_task("recall")
    size, found = task.vocab_size, []
    old, new = (create_model("transformer dim=16 depth=1", vocab_size=size) for _ in range(2))
    for number in range(20):
        folder = tmp_path / str(number)
        save_bundle(folder, old, task, step=0)
        with monkeypatch.context() as patch:
            patch.setattr(os, "replace", _replace_until(number))
            patch.setattr(shutil, "rmtree", lambda *_, **__: None)
            try:
                save_bundle(folder, new, task, step=1)
                whole = True
            except Killed:
                whole = False
        bundle = load_bundle(folder)
        expected = (old, new)[bundle.facts["step"]]
        for name, value in expected.state_dict().items():
            assert torch.equal(bundle.model.state_dict()[name], value), (number, name)
        found.append(bundle.facts["step"])
        save_bundle(folder, old, task, step=0)
        assert load_bundle(folder).facts["step"] == 0, "it can be saved to again"
        if whole:
            break
    assert whole and found[0] == 0 and found == sorted(found) and len(found) >= 5, found


def test_files_that_do_not_belong_together_are_refused(tmp_path: Path) -> None:
    task = create_task("recall")
    for seed in (0, 1):
        model = create_model("transformer dim=16 depth=1", vocab_size=task.vocab_size)
        save_bundle(tmp_path / str(seed), model, task, step=seed)
    shutil.copy(tmp_path / "1" / "model.safetensors", tmp_path / "0")
    with pytest.raises(ValueError, match=r"model.safetensors is not the file that was saved with the others"):
        load_bundle(tmp_path / "0")


def saved_on_a_table(tmp_path: Path) -> Path:
    rows = "\n".join(f"{i % 7}.5,{i % 5}.25,{'ab'[i % 2]}" for i in range(70))
    (tmp_path / "data.csv").write_text("x,z,y\n" + rows)
    task = create_task(tmp_path / "data.csv", target="y")
    model = create_model("[lstm]*1 dim=8", num_features=1, num_outputs=2, pool="mean")
    save_bundle(tmp_path / "model", model, task)
    return tmp_path / "model"


@pytest.mark.parametrize(
    "edit",
    [
        lambda facts: facts["encoding"].update(classes=["a"]),
        lambda facts: facts["encoding"].update(classes=["b", "a"]),
        lambda facts: facts["encoding"].pop("standard"),
        lambda facts: facts["encoding"]["layout"].update(columns=["x"]),
        lambda facts: facts.update(inputs="bytes"),
        lambda facts: facts["files"].pop("task.json") and facts.update(encoding=None, files=5),
    ],
)
def test_edited_facts_are_refused(tmp_path: Path, edit: Callable[[dict[str, Any]], object]) -> None:
    folder = saved_on_a_table(tmp_path)
    load_bundle(folder)
    facts = json.loads((folder / "task.json").read_text())
    edit(facts)
    (folder / "task.json").write_text(json.dumps(facts))
    with pytest.raises(ValueError, match=r"cannot be loaded: task.json is (not the file that was|damaged: )"):
        load_bundle(folder)


@pytest.mark.parametrize("text", ["", "[1]", '"x"', "null", '{"a": '])
@pytest.mark.parametrize("name", ["task.json", "config.json"])
def test_a_damaged_file_is_named(tmp_path: Path, name: str, text: str) -> None:
    folder = saved_on_a_table(tmp_path)
    (folder / name).write_text(text)
    with pytest.raises(ValueError, match=f"cannot be loaded: {name} is damaged: "):
        load_bundle(folder)


def test_data_that_is_not_there_is_told_with_the_nearest_name(tmp_path: Path) -> None:
    path = tmp_path / "data.csv"
    path.write_text("a,kind\n" + "".join(f"{i % 7},{'uv'[i % 2]}\n" for i in range(60)))
    task = create_task(path, target="kind", kind="classify")
    model = create_model("mamba dim=16 depth=1", num_features=1, num_outputs=2, pool="mean")
    save_bundle(tmp_path / "model", model, task)
    with pytest.raises(DataError, match="no file or folder.*did you mean 'data.csv'"):
        load_bundle(tmp_path / "model").predict(tmp_path / "dat.csv")
