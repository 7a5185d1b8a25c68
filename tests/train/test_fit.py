"""A training goes on after whatever befell its folder, its data or its disk, or says in one sentence why not."""

from __future__ import annotations

import errno
import json
import shutil
from pathlib import Path
from types import SimpleNamespace

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


def fit_with(monkeypatch: pytest.MonkeyPatch, folder: Path, scores: list[float], **config: object) -> Fit:
    """A training of 20 steps whose validations, every two, have these scores."""
    data = write_csv(folder / "data.csv")
    settings = {"target": "label", "steps": 20, "batch_size": 4, **config}
    fit = Fit.start(folder / "out", data, "retnet dim=8 depth=1", **settings)
    left = list(scores)
    evaluate = Trainer.evaluate

    def scored(self: Trainer, split: str = "valid", **more: object):
        return SimpleNamespace(value=left.pop(0)) if split == "valid" else evaluate(self, split, **more)

    monkeypatch.setattr(Trainer, "evaluate", scored)
    return fit


def test_patience_ends_it_and_keeps_the_best(tmp_path, monkeypatch):
    fit = fit_with(monkeypatch, tmp_path, [0.5, 0.7, 0.6, 0.7, 0.6, 0.6, 0.65, 0.9], patience=3)
    fit.run()
    assert (fit.stopped, fit.best_step, fit.valid) == (14, 8, 0.7), "as good is better, as it is later"
    assert load_bundle(tmp_path / "out").facts["step"] == 8


def test_without_patience_it_goes_to_its_end(tmp_path, monkeypatch):
    fit = fit_with(monkeypatch, tmp_path, [0.9, *[0.5] * 9])
    fit.run()
    assert (fit.stopped, fit.best_step, fit.valid) == (None, 2, 0.9)


def test_stopped_when_its_patience_was_over_it_is_resumed_at_the_test(tmp_path, monkeypatch):
    fit = fit_with(monkeypatch, tmp_path, [0.9, 0.5, 0.5], patience=2)
    with pytest.raises(Enough):
        fit.run(stop_at(6))
    again = Fit.resume(tmp_path / "out")
    again.run()
    assert (again.stopped, again.best_step, again.valid) == (6, 2, 0.9)


@pytest.mark.parametrize("patience", [0, 10])
def test_a_patience_that_ends_nothing_is_refused(tmp_path, patience):
    with pytest.raises(
        ValueError, match=f"patience must be a number of validations from 1 to 9, got {patience}"
    ):
        Fit.start(tmp_path / "out", "lookup", "retnet", patience=patience)


def test_what_a_log_is_given(tmp_path):
    fit = Fit.start(
        tmp_path / "out", write_csv(tmp_path / "data.csv"), "retnet dim=8 depth=1", target="label", steps=20
    )
    taken = []
    fit.run(log=lambda step, values: taken.extend((step, name, value) for name, value in values.items()))
    losses = [(step, value) for step, name, value in taken if name == "train/loss"]
    assert losses == [(step + 1, loss) for step, loss in enumerate(fit.trainer.losses)]
    assert [step for step, name, _ in taken if name == "valid/accuracy"] == list(range(2, 21, 2))
    assert max(value for _, name, value in taken if name == "train/learning_rate") == pytest.approx(3e-3)
    assert taken[-1] == (fit.best_step, "test/accuracy", fit.test)
