"""Folders that Hugging Face's datasets saves, as tables, images, tagged words and texts.

``data/films`` was saved by datasets 5.2 (``DatasetDict.save_to_disk``); the other folders are made here in its form.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from typer.testing import CliRunner

from anyformer.cli import app
from anyformer.errors import DataError
from anyformer.tables.arrowfolders import is_arrow_folder, read_arrow_folder, read_rows
from anyformer.tables.columns import SPLIT
from anyformer.tables.numbercells import Convention
from anyformer.tasks import Task, open_data
from anyformer.train import Fit, load_bundle

FILMS = Path(__file__).parent / "data" / "films"
TEXT, NUMBER = {"dtype": "string", "_type": "Value"}, {"dtype": "float64", "_type": "Value"}
SIDE = {"names": ["left", "right"], "_type": "ClassLabel"}
SPEC = "mamba dim=8 depth=1"


def save(folder: Path, columns: dict[str, list[Any]], features: dict[str, Any], files: int = 1) -> Path:
    """Write a data set as ``Dataset.save_to_disk`` does."""
    folder.mkdir(parents=True, exist_ok=True)
    table, names = pa.table(columns), [f"data-{i:05}-of-{files:05}.arrow" for i in range(files)]
    for place, name in enumerate(names):
        part = table.take(np.array_split(np.arange(table.num_rows), files)[place])
        with pa.ipc.new_stream(str(folder / name), table.schema) as writer:
            writer.write_table(part)
    (folder / "state.json").write_text(json.dumps({"_data_files": [{"filename": name} for name in names]}))
    (folder / "dataset_info.json").write_text(json.dumps({"features": features}))
    return folder


def save_splits(folder: Path, names: list[str]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "dataset_dict.json").write_text(json.dumps({"splits": names}))
    return folder


def sides(count: int, seed: int = 0, labels: bool = True) -> dict[str, list[Any]]:
    """Texts whose last word tells the class."""
    draw = np.random.default_rng(seed)
    codes = draw.integers(2, size=count)
    texts = [f"{draw.integers(10**6)} {['left', 'right'][code]}" for code in codes]
    return {"text": texts, "side": codes.tolist() if labels else [-1] * count}


def split_folder(folder: Path, sizes: dict[str, int], **hidden: bool) -> Path:
    for seed, (name, size) in enumerate(sizes.items()):
        save(folder / name, sides(size, seed, name not in hidden), {"text": TEXT, "side": SIDE})
    return save_splits(folder, list(sizes))


def sizes(task: Task) -> list[int]:
    return [task.size(split) for split in ("train", "valid", "test")]


def run(*words: object) -> str:
    found = CliRunner().invoke(app, [str(word) for word in words])
    assert found.exit_code in (0, 2), found.output
    return " ".join(found.output.split())


def test_what_datasets_saved_is_read_as_it_was() -> None:
    rows = read_rows(FILMS)
    first = rows.columns.iloc[0]
    assert len(rows.columns) == 62 and rows.classes == ["label"] and rows.images == ["image"]
    assert rows.columns[SPLIT].value_counts().to_dict() == {"train": 40, "test": 12, "valid": 10}
    assert first["label"] in first["text"] and first["image"].startswith(b"\x89PNG")
    assert first["ner_tags"] == [{"ab": "O", "cd": "B-X", "ef": "B-Y"}[word] for word in first["tokens"]]
    assert first["translation.de"] == "ja"
    table = read_arrow_folder(FILMS / "test", Convention())
    assert "image" not in table.frame and "left out: 'image'" in table.remarks[0]
    assert table.numbers("label") is None and len(table.frame) == 12


def test_its_images_go_through_train_and_predict(tmp_path: Path) -> None:
    told = run("train", FILMS, "--target", "label", "--model", SPEC, "--steps", 2, "--out", tmp_path / "m")
    assert "the splits are as given: 40 rows train, 10 rows valid, 12 rows test" in told
    assert "62 images, RGB, 4 x 4 pixels" in told and "left out: 'text', 'tokens'" in told
    run("predict", tmp_path / "m", FILMS / "test", "--out", tmp_path / "told.csv")
    lines = (tmp_path / "told.csv").read_text().splitlines()
    assert lines[0] == "row,text,label,p(bad),p(good),p(odd)" and lines[12].startswith("12,")
    assert "has splits: give the folder of one of them, such as" in run("predict", tmp_path / "m", FILMS)


def test_its_splits_and_class_names_are_the_users(tmp_path: Path) -> None:
    folder = split_folder(tmp_path / "d", {"train": 60, "validation": 12, "test": 20, "unsupervised": 5})
    task = open_data(folder, "side")
    assert sizes(task) == [60, 12, 20] and task.classes == ["left", "right"]
    assert (
        "left out: the split 'unsupervised', which is none of training, validation and test" in task.notes()
    )
    assert sizes(open_data(folder / "train", "side")) == [42, 9, 9], "one split is divided"
    split_folder(tmp_path / "two", {"train": 60, "dev": 20})
    two = open_data(tmp_path / "two", "side")
    assert sizes(two) == [51, 9, 20] and any("for validation is taken for it" in note for note in two.notes())
    kinds = dict.fromkeys(("valid", "test"), "x.csv") | {"split": "side"}
    for name, value in kinds.items():
        with pytest.raises(ValueError, match=f"{name} does not apply to .* which has splits of its own"):
            open_data(folder, "side", **{name: value})


def test_messages_name_the_columns_of_the_user(tmp_path: Path) -> None:
    folder = split_folder(tmp_path, {"train": 60, "test": 20})
    for target, message in (("sidee", "has no column 'sidee'.*'side'"), ("text", "a class must repeat")):
        with pytest.raises(DataError, match=message) as raised:
            open_data(folder, target)
        assert SPLIT not in str(raised.value)


def test_labels_of_several_classes(tmp_path: Path) -> None:
    sets = {"_type": "List", "feature": SIDE}
    for name in ("train", "test"):
        data = {"text": sides(40, len(name))["text"], "labels": [[], [0], [1], [0, 1]] * 10}
        save(tmp_path / name, data, {"text": TEXT, "labels": sets})
    task = open_data(save_splits(tmp_path, ["train", "test"]))
    assert task.labels == ["left", "right"] and sum(sizes(task)) == 80


def test_a_test_without_labels_is_left_out(tmp_path: Path) -> None:
    task = open_data(split_folder(tmp_path, {"train": 60, "validation": 20, "test": 9}, test=True), "side")
    assert sizes(task)[2] == 20
    assert "left out: the 9 rows of the split 'test', which have no 'side'" in task.notes()


def test_texts_are_learnt_and_told(tmp_path: Path) -> None:
    folder = split_folder(tmp_path / "d", {"train": 300, "validation": 40, "test": 40})
    fit = Fit.start(tmp_path / "m", folder, "[mamba]*1 dim=16", target="side", steps=60, learning_rate=1e-2)
    fit.run()
    assert fit.test is not None and fit.test > 0.9
    told = load_bundle(tmp_path / "m").predict(save(tmp_path / "new", {"text": ["1 left", "2 right"]}, {}))
    assert told.table.side.tolist() == ["left", "right"]


def test_texts_alone_are_modelled_in_their_splits(tmp_path: Path) -> None:
    for seed, (name, size) in enumerate({"train": 200, "validation": 60, "test": 60}.items()):
        save(tmp_path / name, {"content": [*sides(size, seed)["text"], ""]}, {"content": TEXT})
    task = open_data(save_splits(tmp_path, ["train", "validation", "test"]))
    facts = task.describe()
    assert facts["split_by"] == "as given" and facts["documents"] == {"train": 200, "valid": 60, "test": 60}
    assert any("3 rows have no 'content'" in note for note in task.notes())
    (tmp_path / "dataset_dict.json").write_text(json.dumps({"splits": ["train", "test"]}))
    task = open_data(tmp_path)
    assert "no validation split is given: the last 10 % of the training text become it" in task.notes()
    bytes_of = task.describe()["bytes"]
    assert 0.08 < bytes_of["valid"] / (bytes_of["valid"] + bytes_of["train"]) < 0.12


def test_tagged_words(tmp_path: Path) -> None:
    names = {"_type": "List", "feature": {"names": ["O", "B-X"], "_type": "ClassLabel"}}
    features = {"tokens": {"_type": "Sequence", "feature": TEXT}, "ner_tags": names}
    draw = np.random.default_rng(0)
    for name, count in {"train": 50, "validation": 20, "test": 20}.items():
        words = [[str(word) for word in draw.integers(100, size=4)] for _ in range(count)]
        tags = [[int(int(word) > 50) for word in one] for one in words]
        save(tmp_path / "d" / name, {"tokens": words, "ner_tags": tags}, features)
    folder = save_splits(tmp_path / "d", ["train", "validation", "test"])
    told = run("train", folder, "--model", SPEC, "--steps", 2, "--out", tmp_path / "m")
    assert "tags of spans (BIO) of 1 type: X" in told
    assert "the splits are as given: 50 sentences train, 20 sentences valid, 20 sentences test" in told
    run("predict", tmp_path / "m", folder / "test", "--out", tmp_path / "told.jsonl")
    record = json.loads((tmp_path / "told.jsonl").read_text().splitlines()[0])
    assert len(record["ner_tags"]) == 4 and {*record["given_ner_tags"]} <= {"O", "B-X"}
    columns = {"tokens": [["a"]] * 30, "ner_tags": [[0]] * 29 + [[0, 1]]}
    with pytest.raises(
        DataError, match="row 30: 'ner_tags' must be a list of tags, one for each of the 1 words"
    ):
        open_data(save(tmp_path / "odd", columns, features))


def test_pairs_of_texts_inside_objects(tmp_path: Path) -> None:
    pairs = [{"de": f"{n} ja", "en": f"{n} yes"} for n in range(40)]
    save(
        tmp_path, {"translation": pairs}, {"translation": {"languages": ["de", "en"], "_type": "Translation"}}
    )
    task = open_data(tmp_path, "translation.en", kind="translate")
    assert task.size("train") > 20


def test_several_files_are_one_table(tmp_path: Path) -> None:
    data, features = sides(30), {"text": TEXT, "side": SIDE}
    one, three = save(tmp_path / "one", data, features), save(tmp_path / "three", data, features, files=3)
    assert read_rows(one).columns.equals(read_rows(three).columns)
    assert is_arrow_folder(one) and not is_arrow_folder(tmp_path)


def break_file(name: str, change: Any) -> Any:
    def apply(folder: Path) -> None:
        file = folder / name
        file.unlink() if change is None else file.write_bytes(change(file.read_bytes()))

    return apply


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (break_file("data-00000-of-00001.arrow", None), "data-00000-of-00001.arrow is missing, which"),
        (break_file("data-00000-of-00001.arrow", lambda b: b[:-8]), "is cut off before its end"),
        (
            break_file("data-00000-of-00001.arrow", lambda b: b"text"),
            "is no readable file of Arrow|is cut off",
        ),
        (break_file("state.json", lambda b: b"{"), "state.json is damaged"),
        (break_file("state.json", lambda b: b"{}"), "does not name the files of the data"),
        (
            break_file("dataset_info.json", None),
            "dataset_info.json is missing: the folder is none that datasets",
        ),
        (
            break_file("dataset_info.json", lambda b: b.replace(b'"left", ', b"")),
            "column 'side' holds the class 1, and has 1 names",
        ),
    ],
)
def test_damage_is_told(spoil: Any, message: str, tmp_path: Path) -> None:
    folder = save(tmp_path / "d", sides(30), {"text": TEXT, "side": SIDE})
    spoil(folder)
    with pytest.raises(DataError, match=message):
        open_data(folder, "side")


def test_damaged_splits(tmp_path: Path) -> None:
    folder = split_folder(tmp_path, {"train": 30, "test": 30})
    save(folder / "test", {"text": ["a"] * 30}, {"text": TEXT})
    with pytest.raises(DataError, match="column 'side' is not in all splits"):
        open_data(folder, "side")
    shutil.rmtree(folder / "test")
    with pytest.raises(DataError, match="dataset_info.json is missing"):
        open_data(folder, "side")
    save_splits(folder, ["other"])
    with pytest.raises(DataError, match="has no split that is called train, validation or test, but other"):
        open_data(folder, "side")
    (folder / "dataset_dict.json").write_text("{}")
    with pytest.raises(DataError, match="must hold the names of splits"):
        open_data(folder, "side")


def test_sounds_and_dates(tmp_path: Path) -> None:
    data = {**sides(30), "sound": [{"bytes": b"a", "path": "a.wav"}] * 30, "score": np.arange(30.0) % 7}
    folder = save(tmp_path, data, {"text": TEXT, "side": SIDE, "sound": {"_type": "Audio"}, "score": NUMBER})
    assert "left out: 'sound', as sounds are not read" in open_data(folder, "side").notes()
    assert open_data(folder, "score", kind="regress").metric.name == "MAE"
