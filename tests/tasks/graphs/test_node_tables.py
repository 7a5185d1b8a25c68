"""One graph in two tables: nodes and edges."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from graph_files import surrounded

from anyformer.errors import DataError
from anyformer.tables.numbercells import Convention
from anyformer.tasks import create_task
from anyformer.tasks.graphs.tables import read_node_table, tables_in
from anyformer.tasks.graphs.task import NodeTask


def saved(folder: Path, count: int = 80, nodes: str = "nodes.csv", edges: str = "edges.csv") -> Path:
    graph = surrounded(count)
    table = pd.DataFrame(graph["nodes"])
    table.insert(0, "id", [f"n{i}" for i in range(count)])
    table["size"] = [i / 10 for i in range(count)]
    table.to_csv(folder / nodes, index=False)
    ends = pd.DataFrame(graph["edges"], columns=["source", "target"]).map(lambda i: f"n{i}")
    ends.assign(kind="ab"[0]).to_csv(folder / edges, index=False)
    return folder / nodes


def test_tables_of_nodes_and_edges_are_one_graph(tmp_path: Path) -> None:
    path = saved(tmp_path)
    task = create_task(path, target="label", edges="edges.csv")
    assert isinstance(task, NodeTask) and task.train_length == 80
    assert "nodes are named by 'id', and edges go from 'source' to 'target' of edges.csv" in task.notes()
    whole = create_task(tmp_path, target="label")
    assert [*whole.notes()] == [*task.notes()]
    unseen = task.encoding.read(path)
    assert unseen.names["node"].str.startswith("n").all() and unseen.style.separator == ","
    assert len(whole.encoding.read(tmp_path).names) == len(unseen.names)


def test_a_table_without_edges_is_one_of_rows(tmp_path: Path) -> None:
    path = saved(tmp_path)
    assert not isinstance(create_task(path, target="label"), NodeTask)
    with pytest.raises(ValueError, match="directed does not apply to tables .* but to"):
        create_task(path, target="label", directed=True)


@pytest.mark.parametrize(
    ("edges", "message"),
    [
        ("source,target\nn1,n99\n", "the edge in row 1 joins 'n99', which is no node of nodes.csv"),
        ("source,target\nn1,n2\nn1,\n", "the edge in row 2 has no 'target'"),
        ("source\nn1\nn2\n", "must have two columns that name nodes, such as source and target, got"),
        ("source,target\n", "no rows"),
    ],
)
def test_wrong_edges(edges: str, message: str, tmp_path: Path) -> None:
    path = saved(tmp_path)
    (tmp_path / "edges.csv").write_text(edges)
    with pytest.raises(DataError, match=message):
        create_task(path, target="label", edges="edges.csv")


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        ({"id": ["n0", "n0"]}, {}, r"two nodes have the 'id' 'n0' \(the second in row 2\)"),
        ({"id": ["n0", None]}, {}, "1 rows have no 'id', by which edges name nodes"),
        ({}, {"id": "name"}, "id: .* has no column 'name'"),
        ({}, {"edges": "links.csv"}, "there is no file or folder 'links.csv'"),
        ({}, {"target": "colours"}, "has no field 'colours'; did you mean 'nodes.colour'"),
    ],
)
def test_wrong_nodes(change: dict[str, Any], options: dict[str, Any], message: str, tmp_path: Path) -> None:
    path = saved(tmp_path)
    table = pd.read_csv(path)
    for name, values in change.items():
        table.loc[: len(values) - 1, name] = values
    table.to_csv(path, index=False)
    with pytest.raises(DataError, match=message):
        create_task(path, **{"target": "label", "edges": "edges.csv", **options})


def test_names_of_columns_are_found(tmp_path: Path) -> None:
    saved(tmp_path, nodes="nodes.tsv")
    assert tables_in(tmp_path) == (tmp_path / "nodes.tsv", tmp_path / "edges.csv")
    assert tables_in(tmp_path.parent) is None
    pd.DataFrame({"town": ["a", "b"], "x": [1, 2]}).to_csv(tmp_path / "towns.csv", index=False)
    pd.DataFrame({"From": ["a"], "TO": ["b"]}).to_csv(tmp_path / "roads.csv", index=False)
    graphs = read_node_table(tmp_path / "towns.csv", "roads.csv", None, Convention(), [])
    assert graphs.ids.tolist() == ["a", "b"] and graphs.ends.tolist() == [[0, 1]]
    assert list(graphs.nodes.frame) == ["x"] and list(graphs.edges.frame) == []
    pd.DataFrame({"town": ["a", "a"], "x": [1, 2]}).to_csv(tmp_path / "towns.csv", index=False)
    with pytest.raises(
        DataError, match="the first, 'town', has values twice: id='NAME' says which names the nodes"
    ):
        read_node_table(tmp_path / "towns.csv", "roads.csv", None, Convention(), [])


def test_new_nodes_are_read_with_the_edges_beside_them(tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    (tmp_path / "new").mkdir()
    path = saved(tmp_path / "old")
    new = saved(tmp_path / "new", 60)
    for task in (
        create_task(path, target="label", edges="edges.csv"),
        create_task(path, target="label", edges=str(tmp_path / "old" / "edges.csv")),
        create_task(tmp_path / "old", target="label"),
    ):
        for given in (new, new.parent):
            read = task.encoding.read(given)
            assert read.batch.side["edges"].shape[-1] == 60
    alone = saved(tmp_path, nodes="people.csv")
    with pytest.raises(
        DataError, match="people.csv is one table: give the folder that holds it beside one of"
    ):
        create_task(tmp_path / "old", target="label").encoding.read(alone)


def test_a_table_beside_its_edges_says_so(tmp_path: Path) -> None:
    path = saved(tmp_path)
    said = "edges.csv lies beside it: edges='edges.csv' reads both as a graph"
    assert said in create_task(path, target="label").notes()
    assert said not in create_task(path, target="label", edges="edges.csv").notes()


def test_one_node_more_is_no_number_out_of_scale(tmp_path: Path) -> None:
    path = saved(tmp_path)
    encoding = create_task(tmp_path, target="label").encoding
    nodes = pd.read_csv(path)
    before = encoding.read(path).batch.inputs["(numbers)"][0]
    pd.concat([nodes, nodes.tail(1).assign(id="new")]).to_csv(path, index=False)
    after = encoding.read(path).batch.inputs["(numbers)"][0]
    same = before.max(0).values - before.min(0).values < 1e-6  # such as the number of nodes
    assert same.any() and after[:, same].abs().max() < 0.1 and after.isfinite().all()
