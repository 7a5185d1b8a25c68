"""A training goes on after whatever befell its folder, its data or its disk, or says in one sentence why not."""

from __future__ import annotations

import errno
import json
import shutil
from pathlib import Path

import pytest

from anyformer.machine import MachineFault
from anyformer.tasks.fingerprint import DataChanged
from anyformer.train import Fit, load_bundle
from anyformer.train.trainer import Trainer

ROWS = [f"{value % 7},{value * 7 % 5},{'ab'[value % 7 > 3]}" for value in range(300)]


class Enough(Exception):
    """The training is left here, as if it had been killed."""


def write_csv(path: Path, rows: list[str] = ROWS) -> Path:
    path.write_text("\n".join(["x,y,label", *rows, ""]), encoding="utf-8")
    return path


def stop_at(step: int):
    def on_step(fit: Fit) -> None:
        if fit.trainer.step == step:
            fit._checkpoint()
            raise Enough

    return on_step


@pytest.fixture(scope="module")
def halfway(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("fit")
    data = write_csv(folder / "data.csv")
    fit = Fit.start(folder / "out", data, "retnet dim=8 depth=1", target="label", steps=20, batch_size=4)
    with pytest.raises(Enough):
        fit.run(stop_at(11))
    return folder


@pytest.fixture
def out(halfway, tmp_path) -> Path:
    shutil.copytree(halfway, tmp_path / "all")
    plan = json.loads((tmp_path / "all" / "out" / "train.json").read_text())
    plan["source"] = str(tmp_path / "all" / "data.csv")
    (tmp_path / "all" / "out" / "train.json").write_text(json.dumps(plan))
    return tmp_path / "all" / "out"


def test_files_of_splits_are_found_from_another_folder(tmp_path, monkeypatch):
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    write_csv(tmp_path / "train.csv", ROWS[:200])
    write_csv(tmp_path / "test.csv", ROWS[200:])
    options = {"steps": 2, "batch_size": 4, "target": "label", "options": {"test": "test.csv"}}
    Fit.start(tmp_path / "out", "train.csv", "retnet dim=8 depth=1", **options)
    monkeypatch.chdir(tmp_path / "elsewhere")
    Fit.resume(tmp_path / "out").run()
    assert load_bundle(tmp_path / "out").facts["source"] == str(tmp_path / "train.csv")


def test_it_goes_on_from_the_checkpoint(out):
    fit = Fit.resume(out)
    assert (fit.trainer.step, fit.valid is not None) == (11, True)
    fit.run()
    assert load_bundle(out).facts["test"] == fit.test
    with pytest.raises(ValueError, match="has finished"):
        Fit.resume(out)


@pytest.mark.parametrize(
    "rows, words",
    [
        (ROWS[:-1], "bytes where it had"),
        ([ROWS[-1], *ROWS[:-1]], "has other content in the same"),
    ],
)
def test_changed_data_is_refused_and_begun_anew_on_demand(out, rows, words):
    write_csv(out.parent / "data.csv", rows)
    with pytest.raises(DataChanged, match=rf"data\.csv .*{words}.*--accept-changed-data"):
        Fit.resume(out)
    fit = Fit.resume(out, accept_changed_data=True)
    assert (fit.trainer.step, fit.valid) == (0, None)
    assert not (out / "model.safetensors").exists(), "the model of the old data is gone"
    assert Fit.resume(out).trainer.step == 0


@pytest.mark.parametrize(
    "name", ["train.json", "checkpoint.pt", "task.json", "model.safetensors", "config.json"]
)
@pytest.mark.parametrize("kept", [0, 0.3, 0.95, "junk", "other json"])
def test_a_damaged_file_is_named_with_what_to_do(out, name, kept):
    held = (out / name).read_bytes()
    if isinstance(kept, str):
        (out / name).write_bytes(b"\0junk" * 20 if kept == "junk" else b'{"a": [1]}')
    else:
        (out / name).write_bytes(held[: int(kept * len(held))])
    if (name, kept) == ("task.json", "other json"):
        assert Fit.resume(out).valid is None
        return
    with pytest.raises(ValueError, match=r"delete|another folder") as caught:
        Fit.resume(out)
    message = str(caught.value)
    assert name in message or str(out) in message
    assert "\n" not in message
    if name == "checkpoint.pt":
        (out / name).unlink()
        assert Fit.resume(out).trainer.step == 0


def test_of_another_version(out):
    plan = json.loads((out / "train.json").read_text())
    (out / "train.json").write_text(json.dumps({**plan, "version": 99}))
    with pytest.raises(ValueError, match="another version of anyformer"):
        Fit.resume(out)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EFBIG])
def test_a_failing_disk_stops_it_with_everything_safe(out, monkeypatch, number):
    fit = Fit.resume(out)
    before = (out / "checkpoint.pt").read_bytes()

    def fails(*args, **kwargs):
        raise OSError(number, "made up")

    with monkeypatch.context() as patch:
        patch.setattr("os.replace", fails)
        with pytest.raises(MachineFault, match="last checkpoint are safe.*--resume"):
            fit.run(lambda fit: fit._checkpoint())
    assert (out / "checkpoint.pt").read_bytes() == before
    assert not [path for path in out.iterdir() if path.name.startswith(".")]
    Fit.resume(out).run()


def test_memory_that_is_not_enough_is_a_sentence(out, monkeypatch):
    fit = Fit.resume(out)

    def fails(self):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 99 bytes")

    monkeypatch.setattr(Trainer, "_step", fails)
    with pytest.raises(MachineFault, match="memory is not enough"):
        fit.run()
