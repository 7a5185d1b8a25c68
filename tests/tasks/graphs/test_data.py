"""Graphs as three tables."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from graph_files import written

from anyformer.errors import DataError
from anyformer.tasks.graphs.data import Graphs, shown
from anyformer.tasks.graphs.jsonl import read_graphs

RECORDS = [
    {"nodes": [{"x": 1, "label": 1}, {"x": 2}], "edges": [[0, 1, "a"]], "label": "p", "x": 3},
    {"nodes": [{"x": 3}], "edges": [], "label": "q", "x": 4},
    {"nodes": [{"x": 4}, {"x": 5}], "edges": [[1, 0, "b"]], "label": "p", "x": 5},
]


@pytest.fixture
def graphs(tmp_path: Path) -> Graphs:
    return read_graphs(written(tmp_path / "g.jsonl", RECORDS))


def test_some_of_the_graphs_keep_their_nodes_and_edges(graphs: Graphs) -> None:
    assert graphs.sizes.tolist() == [2, 1, 2] and graphs.starts.tolist() == [0, 2, 3]
    found = graphs.take(np.array([1, 2]))
    assert found.owner.tolist() == [0, 1, 1] and found.ends.tolist() == [[2, 1]]
    assert found.nodes.frame["x"].tolist() == [3, 4, 5] and found.edges.frame["kind"].tolist() == ["b"]
    assert found.whole.frame["label"].tolist() == ["q", "p"] and found.names == ["line 2", "line 3"]


def test_all_graphs_as_one(graphs: Graphs) -> None:
    found = graphs.joined()
    assert found.sizes.tolist() == [5] and found.ends.tolist() == graphs.ends.tolist()
    assert found.ids.tolist()[:3] == ["line 1, 0", "line 1, 1", "line 2, 0"]


def test_fields_are_found_by_level(graphs: Graphs) -> None:
    assert graphs.find("label", "target") == ("graph", "label")
    assert graphs.find("nodes.label", "target") == ("nodes", "label")
    assert graphs.find("kind", "category") == ("edges", "kind")
    assert graphs.find("graph.x", "drop") == ("graph", "x")
    with pytest.raises(
        DataError, match="drop: 'x' is a field of several kinds in .*: write graph.x or nodes.x"
    ):
        graphs.find("x", "drop")
    with pytest.raises(DataError, match="target: .* has no field 'lable'; did you mean 'label'"):
        graphs.find("lable", "target")
    with pytest.raises(DataError, match="target: .* has no field 'kind'"):
        graphs.find("kind", "target")
    assert shown([1, 2, 3, 4]) == "1, 2, 3, ..."
