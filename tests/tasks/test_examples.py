"""The example data of the README: made the same every time, and opened with one call."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from anyformer.tasks import create_task, score_reference
from anyformer.tasks.classical_forecast import Classical

SCRIPT = Path(__file__).parents[2] / "examples" / "make_data.py"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("examples")
    for name in ("a", "b"):
        subprocess.run([sys.executable, str(SCRIPT), str(folder / name)], check=True)
    for file in sorted((folder / "a").rglob("*.*")):
        assert file.read_bytes() == (folder / "b" / file.relative_to(folder / "a")).read_bytes()
    return folder / "a"


def test_the_next_loan(folder: Path) -> None:
    task = create_task(folder / "loans.csv", target="book", kind="next", group="reader")
    assert task.metric.name == "NDCG@10" and task.size("test") > 50
    assert "'book' has 56 items that can be told" in task.notes()
    found = {one.name: score_reference(one.fit(task), task) for one in task.references()}
    assert found["first-order Markov"] > 5 * found["popularity"]


@pytest.mark.parametrize(
    "name, target, metric, notes",
    [
        (
            "river.csv",
            "level_m",
            "MAE",
            ["values are missing", "32 steps of 1 day are absent", "a season of 7 steps"],
        ),
        ("gestures.csv", "gesture", "accuracy", ["3 different values: classification", "values are missing"]),
        ("reviews.jsonl", "mood", "accuracy", ["2 different values: classification"]),
        ("words.tsv", "latin", "exact match", []),
        ("diary.conll", None, "span F1", ["tags of spans (BIO) of 3 types: LOC, ORG, PER"]),
        ("tales", None, "bits per byte", []),
        ("strokes", None, "accuracy", ["each of 4 folders is a class", "200 images, grey, 12 x 12 pixels"]),
        (
            "notices.jsonl",
            "topics",
            "micro F1",
            ["'topics' holds lists", "4 labels, 1.4 for a sequence on average"],
        ),
        ("molecules.jsonl", "carbonyl", "accuracy", ["edges are of 2 kinds ('single', 'double')"]),
    ],
)
def test_each_makes_its_task(
    folder: Path, name: str, target: str | None, metric: str, notes: list[str]
) -> None:
    task = create_task(folder / name, target=target, **({"kind": "translate"} if name == "words.tsv" else {}))
    assert task.metric.name == metric
    assert all(any(part in note for note in task.notes()) for part in notes)
    assert json.loads(json.dumps(task.describe()))["samples"]["train"] == task.size("train")
    best = []
    for reference in task.references():
        if isinstance(reference, Classical):
            continue
        best.append(score_reference(reference.fit(task), task))
    assert best[-1] == (max if task.metric.higher_is_better else min)(
        best
    )  # the fitted one beats the constants
    batch = task.train_batch(0, 4)
    outputs = torch.zeros(
        *(batch.x.shape[:2] if task.objective.pool is None else (4,)), task.objective.num_outputs
    )
    assert float(task.objective.loss(outputs, batch.targets)) > 0
    assert len(batch.to("cpu")) == 4


def test_who_subscribes(folder: Path) -> None:
    task = create_task(folder / "visits.csv", target="subscribed", group="visitor")
    assert task.metric.name == "accuracy" and task.size("test") == 60
    found = {one.name: score_reference(one.fit(task), task) for one in task.references()}
    assert max(found.values()) < 0.9  # the order of the pages tells


def test_sales_are_forecast_with_what_is_planned(folder: Path, tmp_path: Path) -> None:
    """One command to train and one to predict, as in the quickstart."""
    from typer.testing import CliRunner

    from anyformer.cli import app

    options = ["group=shop,item", "known=promo,price", "calendar=true", "horizon=7", "quantiles=0.1,0.5,0.9"]
    given = [word for pair in options for word in ("--option", pair)]
    where, out = str(tmp_path / "model"), tmp_path / "week.csv"
    task = [str(folder / "sales.csv"), "--target", "sold", *given]
    run = CliRunner().invoke(
        app, ["train", *task, "--model", "mamba dim=16 depth=1", "--steps", "3", "--out", where]
    )
    assert run.exit_code == 0 and "Use it: anyformer predict" in run.output
    run = CliRunner().invoke(app, ["predict", where, "--out", str(out)])
    assert run.exit_code == 0 and "56 rows written" in run.output
    lines = out.read_text().splitlines()
    assert lines[0] == "shop,item,day,sold_q0.1,sold_q0.5,sold_q0.9"
    assert [line.rsplit(",", 3)[0] for line in lines[1:3]] == ["north,tea,2024-08-28", "north,tea,2024-08-29"]


def test_a_large_log_made_small(tmp_path: Path) -> None:
    path = tmp_path / "events.parquet"
    subprocess.run([sys.executable, str(SCRIPT.with_name("make_events.py")), "4e3", str(path)], check=True)
    task = create_task(path, target="item", kind="next", group="user")
    assert "'churned' is read as a category of 2 values" in task.notes() and task.size("train") > 50
    labels = create_task(path, target="churned", group="user")
    assert sum(labels.size(split) for split in ("train", "valid", "test")) == 100
