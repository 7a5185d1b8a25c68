"""Files and folders that make no task, and folders of classes."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from test_labelled import saved, table

from anyformer.tasks import DataError, create_task, open_data
from anyformer.tasks.options import typed_options
from anyformer.tasks.readers import absolute_options, load_encoding, readers
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


MINE = """
from typing import Literal

import numpy as np
import pandas as pd

from anyformer.tasks.labelled import LabelledTask
from anyformer.tasks.labelled_encoding import SequenceEncoding
from anyformer.tasks.readers import Reader, register_reader


def lines_of(path):
    lines = [line.split() for line in path.read_text().splitlines()]
    return np.array([[int(word) for word in words[:-1]] for words in lines]), [words[-1] for words in lines]


class SeqEncoding(SequenceEncoding):
    kind: Literal["seq"] = "seq"

    def read(self, path):
        x = lines_of(path)[0]
        return self.unseen(x, pd.DataFrame({"line": np.arange(1, len(x) + 1)}), [])


@register_reader("seq")
class Seq(Reader):
    \"\"\"Lines of tokens.\"\"\"

    title = "lines of tokens"
    encodings = (SeqEncoding,)

    @classmethod
    def takes(cls, path):
        return path.suffix == ".seq"

    @staticmethod
    def open(path, *, shift: int = 0, seed=0):
        x, labels = lines_of(path)
        classes = sorted(set(labels))
        y = np.array([classes.index(label) for label in labels])
        return LabelledTask(
            x + shift, y, vocab_size=9, classes=classes, name="seq", values=["kind"], encoding=SeqEncoding(), seed=seed
        )
"""


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A reader in a file, and lines that it reads; afterwards it is not registered."""
    monkeypatch.setattr(readers, "_entries", {entry.id: entry for entry in readers})
    (tmp_path / "mine.py").write_text(MINE)
    x = np.random.default_rng(0).integers(0, 8, (80, 5))
    lines = [f"{' '.join(map(str, row))} {'odd' if row[0] % 2 else 'even'}" for row in x]
    (tmp_path / "a.seq").write_text("\n".join(lines))
    return f"{tmp_path}/mine.py:Seq"


def test_a_reader_of_the_users_is_trained_with_and_kept_with_the_model(mine: str, tmp_path: Path) -> None:
    options = typed_options(tmp_path / "a.seq", ["shift=1", f"reader={mine}"])
    assert options == {"shift": 1, "reader": mine}
    fit = Fit.start(tmp_path / "model", tmp_path / "a.seq", "mamba dim=16 depth=1", options=options, steps=2)
    fit.run()
    (tmp_path / "mine.py").unlink()
    found = load_bundle(tmp_path / "model", trust_code=True).predict(tmp_path / "a.seq").table
    assert found.columns.tolist() == ["line", "kind", "p(even)", "p(odd)"] and len(found) == 80
    with pytest.raises(ValueError, match=r"task.json' names Python code to run: .*mine.py:Seq"):
        load_bundle(tmp_path / "model")
    (copy,) = (tmp_path / "model" / "code").rglob("mine.py")
    copy.write_text(MINE + "\nprint('changed')")
    with pytest.raises(ValueError, match="mine.py' is missing or not the file that was saved with the model"):
        load_bundle(tmp_path / "model", trust_code=True)


def test_a_model_with_a_part_and_a_reader_of_the_users_keeps_both(mine: str, tmp_path: Path) -> None:
    text = "from anyformer.mixers.softmax.attention import Attention\n\n\nclass Mine(Attention):\n    pass\n"
    (tmp_path / "part.py").write_text(text)
    spec = {"layers": [{"name": f"{tmp_path}/part.py:Mine"}], "dim": 16}
    fit = Fit.start(tmp_path / "model", tmp_path / "a.seq", spec, options={"reader": mine}, steps=2)
    fit.run()
    assert {path.name for path in (tmp_path / "model" / "code").rglob("*.py")} == {"mine.py", "part.py"}
    assert len(load_bundle(tmp_path / "model", trust_code=True).predict(tmp_path / "a.seq").table) == 80


def test_a_reader_of_the_users_is_found_from_any_folder(
    mine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert absolute_options("a.seq", {"reader": "mine.py:Seq"}) == {"reader": mine}
    assert absolute_options("a.seq", {"reader": "text"}) == {"reader": "text"}


def test_what_is_wrong_with_a_named_reader_is_said(mine: str, tmp_path: Path) -> None:
    path = saved(tmp_path, table(), "rows.csv")
    (tmp_path / "notes.txt").write_text("a word\n" * 500)
    for name, message in {
        "tabels": "unknown reader 'tabels'; did you mean 'tables'",
        "npz": r"reader: 'npz' does not take .*rows\.csv",
        mine: r"reader: '.*mine\.py:Seq' does not take .*rows\.csv",
        mine.replace("Seq", "Gone"): "has no 'Gone'",
        mine.replace("Seq", "lines_of"): "reader must name a subclass of Reader, got '.*lines_of'",
        f"{tmp_path}/none.py:Seq": "there is no file",
    }.items():
        with pytest.raises(ValueError, match=message):
            open_data(path, reader=name)
    with pytest.raises(ValueError, match=r"a\.seq has no option 'shfit'; did you mean shift"):
        open_data(tmp_path / "a.seq", reader=mine, shfit=1)
    with pytest.raises(ValueError, match="shift does not apply to text .* but to lines of tokens"):
        open_data(tmp_path / "notes.txt", shift=1)
    assert open_data(path, reader="text", raw=True).name == "rows"
    with pytest.raises(
        ValueError, match="kind of an encoding must be that of a reader that is installed, got 'x'"
    ):
        load_encoding({"kind": "x"}, mine)
