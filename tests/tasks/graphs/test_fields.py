"""The fields of graphs that are inputs, and what is said of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from graph_files import rings_and_paths, shuffled, written

from anyformer.errors import DataError
from anyformer.tasks.graphs.data import Graphs
from anyformer.tasks.graphs.fields import Described, GraphFields, Wishes, choose_fields, describe, note_edges
from anyformer.tasks.graphs.jsonl import read_graphs


def chosen(graphs: Graphs, **wishes: Any) -> tuple[GraphFields, list[str]]:
    remarks = list[str]()
    used = {"graph": {"label"} & set(graphs.whole.frame)}
    fields = choose_fields(graphs, Wishes.of(graphs, **wishes), used, {}, remarks, directed=False, walks=4)
    return fields, remarks


def molecules(tmp_path: Path, count: int = 30) -> Graphs:
    rng, records = np.random.default_rng(0), []
    for number in range(count):
        nodes = [
            {"element": "CNO"[i % 3], "charge": float(rng.normal()), "ring": i % 2 == 0} for i in range(6)
        ]
        nodes[0].pop("charge")
        edges = [[i, i + 1, i % 2, 0.5] for i in range(5)]
        edges = [{"source": i, "target": j, "bond": b, "length": float(rng.normal())} for i, j, b, _ in edges]
        records.append(
            {"name": f"m{number}", "nodes": nodes, "edges": edges, "heat": number % 7 / 2, "label": 1}
        )
    return read_graphs(written(tmp_path / "g.jsonl", records))


def test_fields_are_numbers_categories_and_kinds(tmp_path: Path) -> None:
    graphs = molecules(tmp_path)
    fields, remarks = chosen(graphs)
    assert sorted(fields.numbers) == ["charge", "ring"] and fields.categories == ["element"]
    assert fields.facts == ["heat"] and fields.fact_categories == []
    assert fields.edge_kinds == ["bond"] and fields.edge_numbers == ["length"]
    said = "; ".join(remarks)
    for words in (
        "30 of 360 values are missing (8.3 %), in 'charge' (30)",
        "fields of graphs: left out: 'name', texts that hardly repeat",
        "each node is given the fields 'heat' of its graph",
        "the whole numbers in 'bond' are kinds of edges; keep='edges.bond' reads them as numbers",
        "each node is given the mean of 'length' over its edges; category='edges.length' tells edges apart by it",
    ):
        assert words in said


def test_wishes(tmp_path: Path) -> None:
    graphs = molecules(tmp_path)
    fields, _ = chosen(graphs, drop="charge,heat,bond", category=["ring"])
    assert fields.numbers == [] and fields.categories == ["ring", "element"]
    assert fields.facts == [] and fields.edge_kinds == [] and fields.edge_numbers == ["length"]
    assert chosen(graphs, category="length")[0].edge_kinds == ["bond", "length"]
    kept, said = chosen(graphs, keep="bond")
    assert kept.edge_kinds == [] and kept.edge_numbers == ["bond", "length"]
    assert not any("kinds of edges" in remark for remark in said)
    with pytest.raises(DataError, match="drop: .* has no field 'colour'"):
        chosen(graphs, drop="colour")


def test_numbers_of_nodes(tmp_path: Path) -> None:
    record = {"nodes": [{"x": 5}, {"x": 7}, {"x": 9}], "edges": [[0, 1, 0.25], [1, 2, 0.75]], "h": 2}
    graphs = read_graphs(written(tmp_path / "g.jsonl", [record, {**record, "edges": [], "h": 3}]))
    fields = GraphFields(numbers=["x"], facts=["h"], edge_numbers=["kind"], walks=3)
    found = describe(graphs, fields)
    expected = [
        [5, 2, 0.25, np.log(2), np.log(3), 0.5, 0],
        [7, 2, 0.5, np.log(3), np.log(3), 1, 0],
        [9, 2, 0.75, np.log(2), np.log(3), 0.5, 0],
        [5, 3, np.nan, 0, np.log(3), 0, 0],
    ]
    np.testing.assert_allclose(found.numbers[:4], expected)
    with pytest.raises(DataError, match="the model needs the field 'y' of nodes: .* has no column 'y'"):
        describe(graphs, GraphFields(numbers=["y"]))


def test_nothing_depends_on_the_order_of_nodes(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    records = [
        {**graph, "nodes": [{**n, "x": float(rng.normal())} for n in graph["nodes"]]}
        for graph in rings_and_paths(8)
    ]
    others = [shuffled(graph, rng) for graph in records]
    found: list[Described] = []
    for name, part in (("a", records), ("b", others)):
        graphs = read_graphs(written(tmp_path / f"{name}.jsonl", part))
        found.append(describe(graphs, GraphFields(numbers=["x"], categories=["colour"])))
    one, other = found
    assert one.keys.tolist() == other.keys.tolist() and len(set(one.keys.tolist())) == 8
    np.testing.assert_allclose(one.numbers[one.order], other.numbers[other.order], atol=1e-5)
    assert one.texts["colour"][one.order].tolist() == other.texts["colour"][other.order].tolist()


@pytest.mark.parametrize(
    ("edges", "directed", "said"),
    [
        (
            [[0, 1], [1, 2]],
            False,
            ["edges have no direction; directed=True tells those that enter and leave apart"],
        ),
        ([[0, 1], [1, 0]], False, ["each edge stands in both directions, and is read once"]),
        ([[0, 1], [1, 1]], False, ["1 edges join a node to itself"]),
        ([[0, 1], [0, 1]], True, ["1 edges join nodes that an earlier edge joins", "edges have a direction"]),
    ],
)
def test_what_is_said_of_edges(
    edges: list[list[int]], directed: bool, said: list[str], tmp_path: Path
) -> None:
    records = [{"nodes": 3, "edges": edges}, {"nodes": 2, "edges": []}]
    graphs, remarks = read_graphs(written(tmp_path / "g.jsonl", records)), list[str]()
    fields = GraphFields(directed=directed)
    note_edges(graphs, describe(graphs, fields), fields, remarks)
    assert remarks[0] == "1 of 2 graphs have no edge"
    for words in said:
        assert any(words in remark for remark in remarks)


def test_too_many_edges_in_one_graph_are_still_kinds(tmp_path: Path) -> None:
    """Directions are kinds: a node sees what enters it and what leaves it."""
    graphs = read_graphs(written(tmp_path / "g.jsonl", [{"nodes": 3, "edges": [[0, 1], [1, 2]]}]))
    kinds = describe(graphs, GraphFields(directed=True)).pairs["kind"].tolist()
    assert kinds == ["out edge", "in edge", "out edge", "in edge"]


def test_codes_of_nodes_are_pointed_out(tmp_path: Path) -> None:
    nodes = [{"z": 6 + i % 3, "sign": i % 2, "x": i / 2} for i in range(30)]
    graphs = read_graphs(written(tmp_path / "g.jsonl", [{"nodes": nodes, "edges": [[0, 1]]}]))
    said = [remark for remark in chosen(graphs)[1] if "amounts" in remark]
    assert said == ["'z' holds 3 whole numbers, read as amounts; category='nodes.z' reads them as names"]
