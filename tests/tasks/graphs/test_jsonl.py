"""Every spelling of a graph in JSON, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from graph_files import written

from anyformer.errors import DataError
from anyformer.tasks.graphs.jsonl import is_graph, read_graphs

TRIANGLE = {
    "nodes": [{"a": "x", "b": 1}, {"a": "y", "b": 2}, {"a": "x", "b": 3}],
    "edges": [[0, 1], [1, 2], [2, 0]],
}
NAMED = {
    "nodes": [{"id": "p", "a": "x", "b": 1}, {"id": "q", "a": "y", "b": 2}, {"id": 7, "a": "x", "b": 3}],
    "edges": [["p", "q"], {"source": "q", "target": 7}, {"from": 7, "to": "p"}],
}
KEYED = {
    "nodes": {"p": {"a": "x", "b": 1}, "q": {"a": "y", "b": 2}, "7": {"a": "x", "b": 3}},
    "links": NAMED["edges"],
}
LISTS = {
    "node_feat": [[1, 5], [2, 6], [3, 7]],
    "num_nodes": 3,
    "edge_index": [[0, 1, 2], [1, 2, 0]],
    "y": [4],
}


@pytest.mark.parametrize("record", [TRIANGLE, NAMED, KEYED])
def test_nodes_and_edges_are_spelled_in_many_ways(record: dict[str, Any], tmp_path: Path) -> None:
    graphs = read_graphs(written(tmp_path / "g.jsonl", [TRIANGLE, record]))
    assert graphs.owner.tolist() == [0, 0, 0, 1, 1, 1] and graphs.names == ["line 1", "line 2"]
    assert graphs.ends.tolist() == [[0, 1], [1, 2], [2, 0], [3, 4], [4, 5], [5, 3]]
    assert graphs.nodes.frame["a"].tolist() == ["x", "y", "x"] * 2
    assert graphs.nodes.frame["b"].tolist() == [1, 2, 3] * 2
    assert graphs.ids.tolist()[3:] == ([0, 1, 2] if record is TRIANGLE else ["p", "q", "7"])


def test_lists_of_numbers_are_columns(tmp_path: Path) -> None:
    graphs = read_graphs(written(tmp_path / "g.jsonl", [{**LISTS, "edge_attr": [[0, 1], [1, 0], [1, 1]]}]))
    assert graphs.nodes.frame.to_dict("list") == {"node_feat[0]": [1, 2, 3], "node_feat[1]": [5, 6, 7]}
    assert graphs.edges.frame.to_dict("list") == {"edge_attr[0]": [0, 1, 1], "edge_attr[1]": [1, 0, 1]}
    assert graphs.whole.frame.to_dict("list") == {"y": [4]}


def test_texts_are_names_where_edges_use_them(tmp_path: Path) -> None:
    atoms, cities = (
        {"nodes": ["C", "C"], "edges": [[0, 1, "double"]]},
        {"nodes": ["A", "B"], "edges": [["B", "A"]]},
    )
    graphs = read_graphs(written(tmp_path / "g.jsonl", [atoms, cities]))
    assert graphs.nodes.frame["node"].tolist() == ["C", "C", None, None]
    assert graphs.ids.tolist() == [0, 1, "A", "B"] and graphs.ends.tolist() == [[0, 1], [3, 2]]
    assert graphs.edges.frame["kind"].tolist() == ["double", None]


def test_one_graph_in_a_file_and_facts_of_networkx(tmp_path: Path) -> None:
    path = tmp_path / "g.json"
    path.write_text(
        json.dumps({"directed": True, "multigraph": False, "graph": {"hour": 3}, **NAMED}, indent=1)
    )
    graphs = read_graphs(path)
    assert (
        graphs.directed and graphs.names == ["g.json"] and graphs.whole.frame.to_dict("list") == {"hour": [3]}
    )
    assert is_graph(TRIANGLE) and is_graph(LISTS) and not is_graph({"nodes": []}) and not is_graph([TRIANGLE])


WRONG = [
    (
        {"nodes": 3, "edges": [[0, 1], [0, 3]]},
        "edge 2 joins node 3, and the graph has 3 nodes, counted from 0",
    ),
    ({"nodes": 3, "edges": [[0, -1]]}, "edge 1 joins node -1"),
    (
        {"nodes": [{"id": "a"}, {"id": "b"}], "edges": [["a", "c"]]},
        "edge 1 joins 'c', which is the id of no node",
    ),
    ({"nodes": [{"id": "a"}, {"id": "a"}], "edges": []}, "two nodes have the id 'a'"),
    ({"nodes": [{"id": "1"}, {"id": 1}], "edges": []}, "two nodes have the id 1"),
    (
        {"nodes": [{"id": "a"}, {}], "edges": []},
        r"node 1 \(counted from 0\) has no 'id', which 1 others have",
    ),
    ({"nodes": [{"id": 1.5}], "edges": []}, "the id of node 0 must be a text or a whole number, got 1.5"),
    ({"nodes": [], "edges": []}, "the graph has no nodes"),
    ({"nodes": 0, "edges": []}, "the graph has no nodes"),
    ({"nodes": "ab", "edges": []}, "'nodes' must be a list of nodes, or their number, got 'ab'"),
    ({"nodes": 2, "edges": 1}, "'edges' must be a list of edges, got '1'"),
    ({"nodes": 2, "edges": [[0]]}, r"edge 1 must be \[source, target\]"),
    ({"nodes": 2, "edges": [{"source": 0}]}, "edge 1 must have 'source' and 'target', got 'source'"),
    (
        {"nodes": 2, "edges": [["a", "b"]]},
        "edge 1 must name nodes by their numbers from 0, as they have no 'id'",
    ),
    ({"nodes": 2, "edges": [[0, 1.0]]}, "edge 1 must name nodes by their numbers from 0"),
    ({"nodes": 2, "edge_index": [[0, 1]]}, "'edge_index' must be two lists of as many nodes"),
    (
        {"nodes": 2, "edges": [[0, 1]], "edge_attr": [1, 2]},
        "'edge_attr' must be a list with an entry for each of the 1",
    ),
    ({"node_feat": [[1]], "num_nodes": 2, "edges": []}, "'num_nodes' is 2, and 'node_feat' has 1 nodes"),
    ({"nodes": 2, "edges": [[0, 1]], "directed": "yes"}, "'directed' must be true or false, got 'yes'"),
    (
        {"nodes": [{"x": 1}, {"x": "b"}], "edges": []},
        "the field 'x' of nodes must hold numbers or texts, got 'b' after 1",
    ),
    ({"nodes": 5000, "edges": [[0, 1]]}, "a graph may have up to 4,000 nodes, got 5,000: it is read whole"),
    ({"vertices": 3}, "must be a graph like .*, got the fields 'vertices'"),
]


@pytest.mark.parametrize(("record", "message"), WRONG, ids=lambda value: None)
def test_wrong_graphs_are_named_by_their_line(record: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=rf"g\.jsonl: line 2.*{message}"):
        read_graphs(written(tmp_path / "g.jsonl", [TRIANGLE, record]))


def test_wrong_files(tmp_path: Path) -> None:
    path = tmp_path / "g.jsonl"
    for text, message in (
        ("", "is empty"),
        ('{"nodes": 2, "edges": [[0, 1]]}\n{"nodes": 2,', "line 2 is not JSON"),
        ('{"nodes": 2, "nodes": 3, "edges": []}', "line 1 has 'nodes' twice in one object"),
        ("[1]", r"line 1 must be an object like"),
        (
            json.dumps({"nodes": 2, "edges": []}),
            "no graph has an edge; fields of nodes alone are rows of a table",
        ),
    ):
        path.write_text(text)
        with pytest.raises(DataError, match=message):
            read_graphs(path)
    mixed = [{**TRIANGLE, "directed": True}, {**TRIANGLE, "directed": False}]
    with pytest.raises(DataError, match="'directed' is true in some graphs and false in others"):
        read_graphs(written(path, mixed))
