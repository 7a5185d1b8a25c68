"""What changed in data is named, and what only looks new is the same."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from anyformer.tasks import Batch, create_task, open_data
from anyformer.tasks.fingerprint import (
    DataChanged,
    Fingerprint,
    changed_files,
    check_files,
    check_sample,
    files_of,
    sample_of_task,
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in {"a.csv": "x,y\n1,2\n", "deep/b.csv": "x\n1\n", ".hidden": "z"}.items():
        path = tmp_path / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path / "data"


def test_files_are_named_below_the_folder_without_hidden_ones(folder: Path) -> None:
    found = files_of(str(folder))
    assert set(found) == {"a.csv", "deep/b.csv"} and found["a.csv"].columns == ["x", "y"]
    assert files_of(str(folder / "a.csv"))["a.csv"].digest == found["a.csv"].digest
    assert files_of("recall") == files_of(None) == {}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("x,z\n1,2\n", "a.csv has other content in the same 8 bytes (column 'y' is gone, column 'z' is new)"),
        ("y,x\n1,2\n", "a.csv has other content in the same 8 bytes (its columns are in another order)"),
        ("x,y\n1,22\n", "a.csv has 9 bytes where it had 8"),
        (None, "a.csv is gone, c.csv is new"),
    ],
)
def test_changes_in_words(folder: Path, text: str | None, words: str) -> None:
    before = files_of(str(folder))
    if text is None:
        (folder / "a.csv").rename(folder / "c.csv")
    else:
        (folder / "a.csv").write_text(text)
    now = files_of(str(folder))
    assert changed_files(before, now) == words
    with pytest.raises(DataChanged, match="the data or the code of the training changed: a.csv"):
        check_files("the training", Fingerprint(files=before), now)


def test_a_touched_or_renamed_file_is_the_same(folder: Path) -> None:
    before = files_of(str(folder))
    os.utime(folder / "a.csv", ns=(1, 1))
    now = files_of(str(folder), known=before)
    assert changed_files(before, now) == "" and now["a.csv"].modified == 1
    (folder / "a.csv").rename(folder / "z.csv")
    renamed = Fingerprint(files=files_of(str(folder)))
    assert renamed.id == Fingerprint(files=before).id != Fingerprint(sample="x", files=before).id


def test_unchanged_files_are_not_read_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = files_of(str(folder))
    monkeypatch.setattr("anyformer.tasks.fingerprint.file_digest", lambda _: "read")
    assert files_of(str(folder), known=before) == before
    (folder / "a.csv").write_text("x,y\n3,4,5\n")
    assert [
        name for name, facts in files_of(str(folder), known=before).items() if facts.digest == "read"
    ] == ["a.csv"]


def test_samples_tell_a_task_that_is_made_otherwise() -> None:
    task, other = (create_task("recall", length=16, num_pairs=3, vocab_size=16, seed=seed) for seed in (0, 1))
    before = Fingerprint(sample=sample_of_task(task))
    check_sample("it", before, create_task("recall", length=16, num_pairs=3, vocab_size=16))
    check_sample("it", Fingerprint(), other)
    with pytest.raises(DataChanged, match="the data of it changed: it gives other samples than before"):
        check_sample("it", before, other)


def test_fields_are_in_the_sample_whatever_they_are_called(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A column may have the name of another part of a batch."""
    rng = np.random.default_rng(0)
    columns = {name: rng.choice(["a", "b"], 100) for name in ("targets", "y")}
    pd.DataFrame({**columns, "x": rng.normal(size=100)}).to_csv(tmp_path / "data.csv", index=False)
    task = open_data(tmp_path / "data.csv", "y")
    before, take = sample_of_task(task), task._take

    def changed(*args: Any) -> Batch:
        batch = take(*args)
        assert isinstance(batch.inputs, dict)
        return replace(batch, inputs={**batch.inputs, "targets": batch.inputs["targets"] + 1})

    monkeypatch.setattr(task, "_take", changed)
    assert sample_of_task(task) != before
