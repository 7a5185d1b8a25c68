"""Boosted trees as a reference: what linear models cannot tell."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from anyformer.tasks import Batch, Task, open_data, score_reference
from anyformer.tasks.trees import BoostedTrees


def scores(task: Task) -> dict[str, float]:
    return {one.name: score_reference(one.fit(task), task) for one in task.references()}


@pytest.mark.parametrize("kind", ["classify", "regress"])
def test_trees_tell_an_exclusive_or_of_a_number_and_a_category(tmp_path: Path, kind: str) -> None:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"a": rng.normal(size=600), "city": rng.choice(["Rome", "Oslo", "Bern"], 600)})
    frame["y"] = (frame["a"] > 0) ^ (frame["city"] == "Rome")
    if kind == "regress":
        frame["y"] = 100.0 * frame["y"] + rng.normal(size=600)
    frame.to_csv(tmp_path / "rows.csv", index=False)
    found = scores(open_data(tmp_path / "rows.csv", "y", kind=kind))
    if kind == "classify":
        assert found["boosted trees"] > 0.95 and found["linear"] < 0.8
    else:
        assert found["boosted trees"] < 10 and found["linear"] > 25


def test_aggregates_of_events_tell_what_trees_need(tmp_path: Path) -> None:
    rng, events = np.random.default_rng(1), list[dict[str, Any]]()
    for visit in range(150):
        amounts = rng.exponential(size=rng.integers(2, 9)).round(3)
        pages = rng.choice(["home", "item", "cart"], len(amounts))
        label = bool(amounts.max() > 2) ^ bool(pages[-1] == "cart")
        events += [{"visit": visit, "amount": a, "page": p, "y": label} for a, p in zip(amounts, pages)]
    pd.DataFrame(events).to_csv(tmp_path / "log.csv", index=False)
    found = scores(open_data(tmp_path / "log.csv", "y", group="visit", kind="classify"))
    assert found["boosted trees"] > 0.8


def test_features_of_a_sequence() -> None:
    numbers = torch.tensor([[[1.0], [4.0], [9.0]], [[2.0], [0.0], [0.0]]])
    codes = torch.tensor([[3, 5, 5], [7, 0, 0]])
    mask = torch.tensor([[True, True, False], [True, False, False]])
    trees = BoostedTrees(whole=False)
    found = trees.features(Batch({"n": numbers, "c": codes}, torch.zeros(2), mask))
    assert trees.num_codes == 3
    assert found.tolist() == [[2.5, 1.5, 1, 4, 1, 4, 2, 3, 5, 3], [2, 0, 2, 2, 2, 2, 1, 7, 7, 7]]


def test_one_class_in_training_and_several_targets(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"a": rng.normal(size=80), "u": rng.normal(size=80), "v": rng.normal(size=80)})
    frame.to_csv(tmp_path / "rows.csv", index=False)
    task = open_data(tmp_path / "rows.csv", ["u", "v"], kind="regress")
    trees = BoostedTrees(whole=True).fit(task)
    assert trees.predict(task.sample("test", 5)).shape == (5, 2)
    frame["y"] = np.where(np.arange(80) < 70, "x", "z")
    frame["part"] = np.where(np.arange(80) < 70, "train", "test")
    frame.to_csv(tmp_path / "rows.csv", index=False)
    task = open_data(tmp_path / "rows.csv", "y", kind="classify", split="part")
    assert score_reference(BoostedTrees(whole=True).fit(task), task) == 0
