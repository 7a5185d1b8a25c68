"""Several labels a text, a row or a group, through train and predict; and what is said about them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from typer.testing import CliRunner

from anyformer.cli import app
from anyformer.errors import DataError
from anyformer.tasks import Task, create_task, open_data, score_reference
from anyformer.tasks.label_sets import label_columns, rarest_of
from anyformer.train import Fit, load_bundle

COLOURS = ["blue", "green", "red"]


def records(count: int = 200, seed: int = 0) -> list[dict[str, Any]]:
    """Texts that name the colours which they have, and one word more."""
    draw, found = np.random.default_rng(seed), []
    for _ in range(count):
        own = [colour for colour in COLOURS if draw.random() < 0.4]
        words = draw.permutation([*own, str(draw.integers(1000))])
        found.append({"text": " ".join(words), "labels": own})
    return found


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def numbers(count: int = 200) -> pd.DataFrame:
    """Rows whose labels are the signs of their numbers."""
    draw = np.random.default_rng(0)
    frame = pd.DataFrame(draw.normal(size=(count, 3)), columns=["u", "v", "w"])
    return frame.assign(a=(frame.u > 0).astype(int), b=(frame.v > 0.5).astype(int), c=frame.w < -1)


def scores(task: Task) -> dict[str, float]:
    return {one.name: score_reference(one.fit(task), task) for one in task.references()}


def test_texts_are_learnt_and_told(tmp_path: Path) -> None:
    data = write(tmp_path / "d.jsonl", records())
    fit = Fit.start(tmp_path / "m", data, "[mamba]*1 dim=32", steps=100, learning_rate=1e-2)
    assert fit.task.metric.name == "micro F1" and fit.task.labels == COLOURS
    notes = fit.task.notes()
    assert "target not given: taken to be 'labels'" in notes
    assert "'labels' holds lists: a row may have any number of labels" in notes
    assert any(
        note.startswith("3 labels, 1.") and "for a sequence on average, and none for" in note
        for note in notes
    )
    fit.run()
    assert fit.test is not None and fit.test > 0.9
    assert set(fit.beside) == {"macro F1", "mean average precision"}
    new = write(tmp_path / "new.jsonl", [{"text": "5 blue red"}, {"text": "green 7"}, {"text": "1"}])
    told = load_bundle(tmp_path / "m").predict(new).table
    assert told.labels.tolist() == [["blue", "red"], ["green"], []]
    assert list(told) == ["row", "labels", "p(blue)", "p(green)", "p(red)"]
    for suffix, first in (
        (".csv", '1,"[""blue"", ""red""]",'),
        (".jsonl", '{"row": 1, "labels": ["blue", "red"],'),
    ):
        done = CliRunner().invoke(
            app, ["predict", str(tmp_path / "m"), str(new), "--out", f"{tmp_path}/out{suffix}"]
        )
        assert done.exit_code == 0, done.output
        lines = (tmp_path / f"out{suffix}").read_text().splitlines()
        assert lines[suffix == ".csv"].startswith(first)


def test_references_are_scored(tmp_path: Path) -> None:
    found = scores(open_data(write(tmp_path / "d.jsonl", records())))
    assert found["linear"] > 0.9 > found["label frequencies"] > 0.4
    rows = open_data(_csv(tmp_path, numbers()), ["a", "b", "c"], kind="labels")
    found = scores(rows)
    assert found["boosted trees"] > 0.85 and found["linear"] > 0.85


def _csv(folder: Path, frame: pd.DataFrame) -> Path:
    frame.to_csv(folder / "d.csv", index=False)
    return folder / "d.csv"


def test_columns_of_truth(tmp_path: Path) -> None:
    data = _csv(tmp_path, numbers())
    told = [
        "train",
        data,
        "--target",
        "a,b,c",
        "--kind",
        "labels",
        "--model",
        "mamba dim=8 depth=1",
        "--steps",
        2,
    ]
    done = CliRunner().invoke(app, [*map(str, told), "--out", f"{tmp_path}/m"])
    assert done.exit_code == 0 and "3 columns of 0 and 1 are labels" in done.output.replace("\n", " "), (
        done.output
    )
    table = load_bundle(tmp_path / "m").predict(data).table
    assert list(table) == ["row", "a", "b", "c", "p(a)", "p(b)", "p(c)"] and set(table.a) <= {0, 1}
    assert ((table["p(a)"] > 0.5) == (table.a == 1)).all()
    as_numbers = open_data(data, ["a", "b"])
    assert (
        "2 targets hold 0 and 1 alone and are predicted as numbers; kind='labels' takes them for labels"
        in (as_numbers.notes())
    )


def test_groups(tmp_path: Path) -> None:
    rows = []
    for group, record in enumerate(records(60)):
        for step in range(4):
            rows.append(
                {"id": f"g{group}", "x": float((group + 1) * (step + 1) % 61), "labels": record["labels"]}
            )
    data = write(tmp_path / "d.jsonl", rows)
    task = open_data(data, "labels", group="id")
    assert task.labels == COLOURS and task.train_length == 4 and task.size("train") == 42
    with pytest.raises(DataError, match="'labels' changes within groups of 'id'"):
        open_data(write(data, [{**rows[0], "labels": ["other"]}, *rows[1:]]), "labels", group="id")


def test_tables_in_memory_and_lists_in_cells(tmp_path: Path) -> None:
    frame = pd.DataFrame(records(60))
    fit = Fit.start(tmp_path / "m", frame, "mamba dim=8 depth=1", target="labels", steps=1)
    assert fit.task.labels == COLOURS
    task = open_data(
        _csv(tmp_path, frame.assign(labels=frame.labels.map(json.dumps))), "labels", kind="labels"
    )
    assert task.labels == COLOURS


def test_labels_are_fitted_on_training(tmp_path: Path) -> None:
    rows = [{**row, "part": ["train", "valid", "test"][i % 3]} for i, row in enumerate(records(90))]
    rows[2]["labels"] = ["new", "red"]
    task = open_data(write(tmp_path / "d.jsonl", rows), "labels", split="part")
    assert task.labels == COLOURS
    said = (
        "left out, as no training sequence has them, of the truth too: the label 'new', in 1 sequences of validation "
        "and test"
    )
    assert said in task.notes()
    assert task.describe()["labels"]["red"] == sum("red" in row["labels"] for row in rows)


def test_rare_repeated_missing_and_empty_ones(tmp_path: Path) -> None:
    rows = records(80)
    rows[0]["labels"] = ["red", "red"]
    rows[1]["labels"] = None
    rows[2]["labels"] = ["rare"]
    notes = open_data(write(tmp_path / "d.jsonl", rows)).notes()
    assert "1 rows have a label twice in 'labels', which counts once" in notes
    assert "1 of 80 rows have no target and are left out" in notes
    assert any("'rare'" in note for note in notes)


def test_dates_do_not_make_it_a_forecast(tmp_path: Path) -> None:
    rows = [{**row, "day": f"2024-01-{1 + i % 28:02}"} for i, row in enumerate(records(60))]
    assert open_data(write(tmp_path / "d.jsonl", rows)).labels == COLOURS


def changed(value: Any, place: int = 5) -> list[dict[str, Any]]:
    rows = records(60)
    rows[place]["labels"] = value
    return rows


@pytest.mark.parametrize(
    ("rows", "options", "message"),
    [
        (changed("red"), {}, "'labels' in row 6 must hold a list of labels as in other rows, got 'red'"),
        (changed([["red"]]), {}, r"'labels' in row 6 .* texts or numbers, got \['red'\] in it"),
        (changed([None]), {}, "'labels' in row 6 .* got None in it"),
        (changed([" "]), {}, "'labels' in row 6 holds an empty label"),
        ([{**row, "labels": []} for row in records(60)], {}, "all training sequences have the same labels"),
        (
            [{**row, "labels": ["red"]} for row in records(60)],
            {},
            "all training sequences have the same labels",
        ),
        (
            [{**row, "labels": [f"l{i}"]} for i, row in enumerate(records(60))],
            {},
            "60 different labels among 60",
        ),
        (records(60), {"kind": "classify"}, "column 'labels' holds lists or objects; .*kind='labels'"),
        (records(60), {"target": ["text", "labels"], "kind": "labels"}, "'labels' .* must be given alone"),
        (
            records(60),
            {"target": "text", "kind": "labels"},
            "column 'text' .* must hold lists of labels, or be one",
        ),
        (
            [{"text": r["text"]} for r in records(60)],
            {"kind": "labels"},
            "target must name the column of lists",
        ),
        (records(60), {"class_weights": "balanced"}, "class_weights does not apply to sets of labels"),
        (records(60), {"metric": "accuracy"}, "'accuracy' measures classes, not sets of labels"),
        (records(9), {}, "9 labelled sequences are too few"),
    ],
)
def test_mistakes(rows: list[dict[str, Any]], options: dict[str, Any], message: str, tmp_path: Path) -> None:
    given = {"target": "labels", **options} if options.get("kind") == "classify" else options
    with pytest.raises(ValueError, match=message):
        create_task(write(tmp_path / "d.jsonl", rows), **given)


def test_columns_must_hold_truth(tmp_path: Path) -> None:
    data = _csv(tmp_path, numbers().assign(b=2))
    with pytest.raises(DataError, match="column 'b' .* must hold 0 or 1 to be a label, got 2 in row 1"):
        open_data(data, ["a", "b"], kind="labels")


def test_strata_are_the_rarest_labels() -> None:
    there = np.array([[1, 1, 0], [1, 0, 0], [1, 1, 0], [0, 0, 0]], bool)
    assert rarest_of(there).tolist() == [2, 1, 2, 0]


def test_answers_of_a_column_that_training_never_had() -> None:
    found = label_columns(["a", "b"], ["b"], torch.tensor([[3.0], [-3.0]]))
    assert (
        found["a"].tolist() == [0, 0] and found["b"].tolist() == [1, 0] and list(found) == ["a", "b", "p(b)"]
    )


def test_the_example_in_one_command_each(tmp_path: Path) -> None:
    data, where = Path(__file__).parents[2] / "examples" / "data" / "notices.jsonl", str(tmp_path / "model")
    model = ["--model", "mamba dim=16 depth=1", "--steps", "3", "--out", where]
    run = CliRunner().invoke(app, ["train", str(data), "--target", "topics", *model])
    assert run.exit_code == 0 and "Also measured" in run.output, run.output
    run = CliRunner().invoke(app, ["predict", where, str(data), "--out", str(tmp_path / "told.jsonl")])
    assert run.exit_code == 0 and "400 rows written" in run.output, run.output
    first = json.loads((tmp_path / "told.jsonl").read_text().splitlines()[0])
    assert set(first) == {"row", "topics", "p(roads)", "p(school)", "p(market)", "p(weather)"}
