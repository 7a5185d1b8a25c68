"""Texts and groups of rows as sequences."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from test_labelled import opened, saved, scores

from anyformer.tasks import DataError, create_task, open_data


class TestTexts:
    def records(self, n: int = 120) -> list[dict[str, Any]]:
        rng = np.random.default_rng(0)
        words = {"good": ["splendid", "lovely", "fine"], "bad": ["dreadful", "dull", "poor"]}
        labels = rng.choice(["good", "bad"], n)
        return [
            {
                "text": f"film {i} was {rng.choice(words[label])} and {rng.choice(words[label])}",
                "label": str(label),
            }
            for i, label in enumerate(labels)
        ]

    def test_a_text_column_is_read_as_bytes(self, tmp_path: Path) -> None:
        (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, self.records())))
        task = opened(tmp_path / "a.jsonl")
        assert task.vocab_size == 256 and "target not given: taken to be 'label'" in task.notes()
        batch = next(task.eval_batches("test", 2))
        assert batch.mask is not None
        first = bytes(batch.x[0][batch.mask[0]].tolist()).decode()
        assert first.startswith("film ") and (batch.x[~batch.mask] == 0).all()
        found = scores(task)
        assert found["linear"] == 1 and found["majority"] < 0.8

    def test_csv_with_text_and_cut_texts(self, tmp_path: Path) -> None:
        task = opened(saved(tmp_path, pd.DataFrame(self.records())), "label", length=12)
        assert (
            task.train_length == 12
            and "120 of 120 texts are longer than 12 bytes and cut there" in task.notes()
        )

    def test_text_alone_is_modelled(self, tmp_path: Path) -> None:
        records = [{"text": record["text"]} for record in self.records()]
        (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, records)))
        task = create_task(tmp_path / "a.jsonl")
        assert task.metric.name == "bits per byte" and task.describe()["split_by"] == "document"


def test_groups_are_sequences(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rows = []
    for group in range(60):
        rising = group % 2
        for t in range(5 + group % 4):
            rows.append(
                {"id": f"g{group}", "t": t, "v": (1 if rising else -1) * t + rng.normal(), "up": f"u{rising}"}
            )
    frame = pd.DataFrame(rows)
    task = opened(saved(tmp_path, frame), "up", group="id")
    assert (task.train_length, task.num_features, task.describe()["groups"]) == (8, 1, 60)
    assert any("'t', counting the rows of each group" in note for note in task.notes())
    assert opened(saved(tmp_path, frame), "up", group="id", keep="t").num_features == 2
    batch = next(task.eval_batches("train", 60))
    assert batch.mask is not None and set(batch.mask.sum(1).tolist()) == {5, 6, 7, 8}
    assert scores(task)["linear"] > 0.8
    with pytest.raises(DataError, match=r"'v' changes within groups of 'id'; a label must be the same"):
        opened(saved(tmp_path, frame), "v", group="id")


def test_beside_a_text_alone_it_is_said_why_other_columns_are_no_inputs(tmp_path: Path) -> None:
    levels = [f"{i % 10}%" for i in range(60)]
    levels[50] = "7"
    frame = pd.DataFrame(
        {
            "level": levels,
            "note": [f"remark {chr(97 + i % 26)} number {i}, at length" for i in range(60)],
            "label": list("abc") * 20,
        }
    )
    frame.to_csv(tmp_path / "rows.csv", index=False)
    notes = " ".join(open_data(tmp_path / "rows.csv", "label").notes())
    assert "left out: 'level', which has values with and without %" in notes
    assert "reads numbers instead" not in notes and "left out: 'note'" not in notes
