"""Tasks of graphs and of nodes: splits, batches, clusters, targets, wrong data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from graph_files import rings_and_paths, shuffled, surrounded, written

from anyformer.errors import DataError
from anyformer.tasks import create_task
from anyformer.tasks.graphs.task import GraphTask, NodeTask


def opened(tmp_path: Path, records: list[dict[str, Any]], **options: Any) -> Any:
    return create_task(written(tmp_path / "g.jsonl", records), **options)


def test_graphs_are_sets_of_nodes_with_edges(tmp_path: Path) -> None:
    task = opened(tmp_path, rings_and_paths())
    assert isinstance(task, GraphTask) and task.stream.shape == "set" and task.train_length == 9
    batch = task.train_batch(0, 8)
    assert isinstance(batch.inputs, dict) and batch.mask is not None
    edges, sizes = batch.side["edges"], batch.mask.sum(1)
    assert edges.shape == (8, int(sizes.max()), int(sizes.max()))
    joined = (edges > 0).sum((1, 2)) // 2
    assert torch.equal(joined == sizes, batch.targets == task.classes.index("ring"))
    for values in batch.inputs.values():
        assert (values[~batch.mask] == 0).all()
    assert not edges[~batch.mask].any() and not edges.transpose(1, 2)[~batch.mask].any()
    again = [b.targets for b in task.eval_batches("test", 5)]
    assert torch.equal(torch.cat(again), next(iter(task.eval_batches("test", 100))).targets)


def test_equal_graphs_are_in_one_split_and_one_cluster(tmp_path: Path) -> None:
    rng, records = np.random.default_rng(0), rings_and_paths(60)
    task = opened(
        tmp_path, [copy for graph in records for copy in (graph, shuffled(graph, rng), shuffled(graph, rng))]
    )
    for split in ("train", "valid", "test"):
        rows = task._index[split]
        assert np.array_equal(np.unique(rows // 3, return_counts=True)[1] % 3, np.zeros(len(rows) // 3))
        assert np.bincount(task.clusters(split)).min() >= 3
    shares = [np.mean([task._y[i] for i in task._index[split]]) for split in ("train", "test")]
    assert abs(shares[0] - shares[1]) < 0.1


def test_numbers_of_graphs(tmp_path: Path) -> None:
    records = [{**graph, "label": len(graph["edges"]) + 0.5} for graph in rings_and_paths(60)]
    task = opened(tmp_path, records)
    batch = task.train_batch(0, 4)
    assert task.metric.id == "mae" and batch.targets.shape == (4, 1)
    counts = (batch.side["edges"] > 0).sum((1, 2)).numpy() / 2
    np.testing.assert_allclose(batch.in_units(batch.targets)[:, 0], counts + 0.5, rtol=1e-5)


def test_graphs_without_a_target_are_left_out(tmp_path: Path) -> None:
    records = rings_and_paths(60)
    for graph in records[:5]:
        del graph["label"]
    task = opened(tmp_path, records)
    assert sum(task.size(split) for split in ("train", "valid", "test")) == 55
    assert "5 of 60 graphs have no target and are left out" in task.notes()


def test_nodes_of_one_graph(tmp_path: Path) -> None:
    task = opened(tmp_path, [surrounded()], target="nodes.label")
    assert isinstance(task, NodeTask) and task.batch_size == 1 and task.of_elements
    train, test = task.train_batch(3, 16), next(iter(task.eval_batches("test", 4)))
    assert len(train) == task.size("train") and len(test) == task.size("test") and test.elements is not None
    assert torch.equal(train.side["edges"], test.side["edges"])
    assert len(set(map(tuple, train.elements.tolist())) & set(map(tuple, test.elements.tolist()))) == 0
    assert 10 <= len(np.unique(task.clusters("test"))) <= 50
    said = "; ".join(task.notes())
    assert "the graph is seen whole in training and in tests" in said
    assert "nodes have no target and are seen, and not asked about" in said
    assert not list(task.eval_batches("test", 4, index=np.arange(0)))
    part = test[1:3]
    assert len(part) == 2 and torch.equal(part.elements, test.elements[1:3]) and part.inputs is test.inputs


def test_nodes_of_many_graphs(tmp_path: Path) -> None:
    records = [surrounded(12, seed) for seed in range(40)]
    task = opened(tmp_path, records, target="nodes.label")
    owners = {
        split: set(task._graphs.owner[task._nodes[task._index[split]]])
        for split in ("train", "valid", "test")
    }
    assert not owners["train"] & owners["test"] and not owners["train"] & owners["valid"]
    batch = task.train_batch(0, 4)
    assert batch.side["edges"].shape[0] == 4 and len(batch) == len(batch.elements) > 20
    asked = [b for b in task.eval_batches("valid", 3, index=np.array([0, 1, 5, 20]))]
    assert sum(map(len, asked)) == 4
    assert set(task.clusters("test").tolist()) == owners["test"]
    seen = [tuple(sorted(set(task.train_batch(step, 7).elements[:, 0].tolist()))) for step in range(3)]
    assert all(len(samples) == 7 for samples in seen)


def test_few_graphs_are_parts_of_one(tmp_path: Path) -> None:
    task = opened(tmp_path, [surrounded(40, seed) for seed in range(3)], target="nodes.label")
    assert task.batch_size == 1 and task.train_length == 120
    assert "3 graphs are too few to be split, and are read as one of several parts" in task.notes()


def test_splits_of_the_user(tmp_path: Path) -> None:
    records = [
        {**graph, "part": ["train", "Test", "val"][i % 3]} for i, graph in enumerate(rings_and_paths(60))
    ]
    task = opened(tmp_path, records, split="part")
    assert task._index["test"].tolist() == list(range(1, 60, 3)) and task.size("valid") == 20
    graph = surrounded()
    for number, node in enumerate(graph["nodes"]):
        node["mask"] = ["train", "valid", "test"][number % 3]
    nodes = opened(tmp_path, [graph], target="nodes.label", split="nodes.mask")
    assert set(nodes._nodes[nodes._index["test"]] % 3) == {2}
    records[7]["part"] = "later"
    with pytest.raises(DataError, match="split: the field 'part' must be one of train, .*, got 'later'"):
        opened(tmp_path, records, split="part")
    with pytest.raises(DataError, match="split: 'mask' is no field of graphs, which are to be split"):
        opened(
            tmp_path, [{**g, "nodes": [{"mask": "train"}] * len(g["nodes"])} for g in records], split="mask"
        )


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        ({"label": "ring"}, {}, "the target has only one value, 'ring': nothing to learn"),
        ({"label": None, "kind": 1}, {}, "target: .*'label' .* has no value in any row"),
        ({}, {"target": "colour"}, "classes|colour"),
        ({}, {"target": "lable"}, "target: .* has no field 'lable'; did you mean 'label'"),
        ({}, {"target": "label,nodes.colour"}, "target must name fields of graphs or of nodes, got both"),
        ({}, {"category": "label2"}, "category: .* has no field 'label2'"),
        ({}, {"walks": 100}, r"walks must be an integer in 0..64, got 100"),
        ({}, {"kind": "forecast"}, "kind must be one of 'classify', 'regress'"),
        ({}, {"group": "colour"}, "group does not apply to graphs .* but to tables"),
        ({}, {"kind": "regress"}, "regression needs numbers"),
    ],
)
def test_wrong_requests(
    change: dict[str, Any], options: dict[str, Any], message: str, tmp_path: Path
) -> None:
    records = [{**graph, **change} for graph in rings_and_paths(40)]
    if options.get("target") == "colour":  # of nodes: allowed
        assert isinstance(opened(tmp_path, records, **options), NodeTask)
        return
    with pytest.raises(ValueError, match=message):
        opened(tmp_path, records, **options)


def test_too_few_graphs(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="19 labelled .* are too few; at least 20 are needed"):
        opened(tmp_path, rings_and_paths(19))
    with pytest.raises(DataError, match="only 2 different"):
        opened(
            tmp_path,
            [{"nodes": 3, "edges": [[0, 1]], "label": "a"}, {"nodes": 2, "edges": [], "label": "b"}] * 20,
        )
    with pytest.raises(
        DataError, match="target='FIELD' must name the field to predict, of graphs, or of nodes as"
    ):
        opened(tmp_path, [{"nodes": 3, "edges": [[0, 1]]}] * 30)
