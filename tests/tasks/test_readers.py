"""Files and folders that make no task, and folders of classes."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from test_labelled import saved, table

from anyformer.tasks import DataError, create_task, open_data
from anyformer.tasks.readers import absolute_options
from anyformer.train import Fit, load_bundle


def test_wrong_files(tmp_path: Path) -> None:
    saved(tmp_path, table(), "sales.csv")
    with pytest.raises(
        DataError, match=r"there is no file or folder '.*slaes\.csv'; did you mean 'sales\.csv'\?"
    ):
        create_task(tmp_path / "slaes.csv")
    with pytest.raises(DataError, match="there is no folder .* either"):
        create_task(tmp_path / "nowhere" / "a.csv")
    (tmp_path / "a.parquet").write_bytes(b"PAR1 but not really")
    with pytest.raises(DataError, match=r"a\.parquet is not a readable Parquet file: "):
        create_task(tmp_path / "a.parquet")
    (tmp_path / "a.json").write_text("[]")
    with pytest.raises(DataError, match=r"\.json files are not read: save it as \.jsonl"):
        create_task(tmp_path / "a.json")
    for line, message in [
        ('{"text": "a"}\n{broken', "line 2 is not JSON"),
        ("[1, 2]", "line 1 must be an object like"),
    ]:
        (tmp_path / "a.jsonl").write_text(line)
        with pytest.raises(DataError, match=message):
            create_task(tmp_path / "a.jsonl")


def folder_of_classes(folder: Path) -> Path:
    words = {"fruit": "apple banana cherry date", "tools": "hammer saw drill pliers"}
    for name, text in words.items():
        (folder / name).mkdir(parents=True)
        for i in range(20):
            shuffled = np.random.default_rng(i).permutation(text.split())
            (folder / name / f"{i}.txt").write_text(f"{' '.join(shuffled)} {i}\n")
    return folder


def test_a_folder_of_classes_is_classified_on_demand_and_predicted_by_file(tmp_path: Path) -> None:
    folder = folder_of_classes(tmp_path / "texts")
    assert "kind='classify' takes them for classes" in " ".join(open_data(folder, length=8).notes())
    fit = Fit.start(
        tmp_path / "model",
        folder,
        "mamba",
        options={"kind": "classify"},
        steps=20,
        batch_size=16,
        learning_rate=3e-3,
    )
    fit.run()
    assert fit.task.title == "Tell which of 2 values class has." and fit.test == 1
    found = load_bundle(tmp_path / "model").predict(folder / "tools").table
    assert found["file"].tolist()[:2] == ["0.txt", "1.txt"] and set(found["class"]) == {"tools"}
    one = load_bundle(tmp_path / "model").predict(folder / "fruit" / "3.txt").table
    assert one["file"].tolist() == ["3.txt"] and one["class"].tolist() == ["fruit"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda folder: (folder / "loose.txt").write_text("x"),
            "needs each file in the subfolder .* 'loose.txt' is in none",
        ),
        (lambda folder: (folder / "fruit" / "0.txt").write_bytes(b"\x89PNG\x00\xff"), "0.txt"),
        (lambda folder: shutil.rmtree(folder / "tools"), "too few|only one value, 'fruit'"),
    ],
)
def test_what_is_wrong_with_a_folder_of_classes_is_said(
    tmp_path: Path, change: Callable[[Path], object], message: str
) -> None:
    folder = folder_of_classes(tmp_path / "texts")
    change(folder)
    with pytest.raises(DataError, match=message):
        open_data(folder, kind="classify")
    with pytest.raises(DataError, match="needs a folder"):
        open_data(folder / "fruit" / "1.txt", kind="classify")


def test_folders_of_splits_hold_folders_of_classes(tmp_path: Path) -> None:
    for split, count in (("train", 20), ("test", 8)):
        for name in ("pos", "neg"):
            folder = tmp_path / "texts" / split / name
            folder.mkdir(parents=True)
            for i in range(count):
                (folder / f"{i}.txt").write_text(f"{name} {split} {i}")
    task = open_data(tmp_path / "texts", kind="classify")
    assert task.classes == ["neg", "pos"] and task.size("test") == 16  # type: ignore[attr-defined]
    assert any(note.startswith("the splits are as given: 40 rows train") for note in task.notes())
    (tmp_path / "texts" / "train" / "pos" / "more").mkdir()
    (tmp_path / "texts" / "train" / "pos" / "more" / "x.txt").write_text("deep")
    with pytest.raises(DataError, match="needs each file in the subfolder of its class, .* got 'train"):
        open_data(tmp_path / "texts", kind="classify")


@pytest.mark.parametrize("value", ["no", "false", 1, "x"])
def test_what_is_true_or_false_is_nothing_else(tmp_path: Path, value: object) -> None:
    saved(tmp_path, table(), "rows.csv")
    with pytest.raises(ValueError, match="dayfirst must be true or false, got"):
        open_data(tmp_path / "rows.csv", "kind", dayfirst=value)


def test_further_files_are_found_from_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data, elsewhere = tmp_path / "data", tmp_path / "elsewhere"
    elsewhere.mkdir()
    (data / "graph").mkdir(parents=True)
    (data / "a.csv").write_text("x,y\n1,2\n")
    (data / "graph" / "nodes.csv").write_text("id,y\n1,2\n")
    (data / "graph" / "edges.csv").write_text("from,to\n1,2\n")
    monkeypatch.chdir(data)
    assert absolute_options("a.csv", {"test": "b.csv", "split": "part", "horizon": 3}) == {
        **{"test": str(data / "b.csv"), "split": "part", "horizon": 3}
    }
    monkeypatch.chdir(elsewhere)  # edges lie beside the nodes, or else here
    nodes = data / "graph" / "nodes.csv"
    assert absolute_options(nodes, {"edges": "edges.csv"}) == {"edges": str(data / "graph" / "edges.csv")}
    assert absolute_options(nodes, {"edges": "others.csv"}) == {"edges": str(elsewhere / "others.csv")}
