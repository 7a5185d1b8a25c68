"""Predictors without a sequence model, on graphs whose answers each can or cannot tell."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from graph_files import rings_and_paths, shuffled, surrounded, written

from anyformer.tasks import create_task, score_reference


def scores(tmp_path: Path, records: list[dict[str, Any]], **options: Any) -> dict[str, float]:
    task = create_task(written(tmp_path / "g.jsonl", records), **options)
    return {reference.name: score_reference(reference.fit(task), task) for reference in task.references()}


def test_degrees_tell_rings_from_paths(tmp_path: Path) -> None:
    found = scores(tmp_path, rings_and_paths())
    assert list(found) == ["majority", "linear", "Weisfeiler-Lehman"]
    assert found["linear"] == 1 and found["Weisfeiler-Lehman"] > 0.8 and found["majority"] < 0.7


def test_neighbourhoods_tell_what_counts_do_not(tmp_path: Path) -> None:
    """Rings of four a and four b: in turn, or in two blocks. Walks are left out, and would not tell either."""
    rng, records = np.random.default_rng(0), []
    for number in range(160):
        turn = bool(number % 2)
        length = int(rng.integers(3, 7))
        names = ["a", "b"] * length if turn else ["a"] * length + ["b"] * length
        edges = [[i, (i + 1) % (2 * length)] for i in range(2 * length)]
        records.append(shuffled({"nodes": names, "edges": edges, "id": number, "label": int(turn)}, rng))
        records[-1]["nodes"] = [{"c": name} for name in records[-1]["nodes"]] + [{"c": "z"}] * (number // 2)
    found = scores(tmp_path, records, drop="id")
    assert found["Weisfeiler-Lehman"] > 0.95 > 0.8 > found["linear"]


def test_fields_of_neighbours_tell_what_own_fields_do_not(tmp_path: Path) -> None:
    found = scores(tmp_path, [surrounded(400)], target="nodes.label")
    assert list(found) == ["majority", "linear", "linear on neighbours", "label propagation"]
    assert found["linear on neighbours"] > 0.9 > 0.75 > found["linear"]
    many = scores(tmp_path, [surrounded(15, seed) for seed in range(40)], target="nodes.label")
    assert (
        list(many) == ["majority", "linear", "linear on neighbours"] and many["linear on neighbours"] > 0.85
    )


def test_labels_spread_to_neighbours(tmp_path: Path) -> None:
    """Two groups with many edges inside and few between, and no other field."""
    rng = np.random.default_rng(0)
    group = np.arange(120) % 2
    edges = [
        [i, j]
        for i in range(120)
        for j in range(i)
        if rng.random() < (0.15 if group[i] == group[j] else 0.01)
    ]
    graph = {"nodes": [{"label": "ab"[one]} for one in group], "edges": edges}
    found = scores(tmp_path, [graph], target="nodes.label")
    assert found["label propagation"] > 0.95 and found["linear"] < 0.8
    numbers = {**graph, "nodes": [{"label": float(one) + rng.normal() / 50} for one in group]}
    found = scores(tmp_path, [numbers], target="nodes.label")
    assert found["label propagation"] < 0.3 < found["median"]
