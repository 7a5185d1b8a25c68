"""New graphs, read as those of training were, and answers about them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from graph_files import rings_and_paths, shuffled, surrounded, written

from anyformer.errors import DataError
from anyformer.models import create_model
from anyformer.tasks import create_task
from anyformer.tasks.readers import load_encoding
from anyformer.train import model_for
from anyformer.train.models import outputs_of


def test_new_graphs_are_encoded_as_those_of_training(tmp_path: Path) -> None:
    records = rings_and_paths(60)
    path = written(tmp_path / "g.jsonl", records)
    task = create_task(path)
    encoding = load_encoding(task.encoding.model_dump(mode="json", exclude_none=True))
    assert encoding == task.encoding
    unseen = encoding.read(path)
    (batch,) = unseen.parts(64)
    own = task._encoded.batch(np.arange(60), torch.zeros(60))
    assert torch.equal(batch.side["edges"], own.side["edges"])
    assert all(torch.equal(batch.inputs[name], own.inputs[name]) for name in own.inputs)
    assert unseen.names["line"].tolist() == list(range(1, 61))
    table = encoding.answers(unseen, torch.randn(60, 2))
    assert list(table) == ["line", "label", "p(path)", "p(ring)"]
    assert np.allclose(table[["p(path)", "p(ring)"]].sum(axis=1), 1, atol=1e-3)


@pytest.mark.parametrize("spec", ["gin", "graphormer", "transformer", "mamba depth=2", "retnet"])
def test_the_order_of_nodes_changes_no_answer(spec: str, tmp_path: Path) -> None:
    """Of graphs none, whatever the mixer reads; of nodes they go with the nodes."""
    rng, records = np.random.default_rng(0), rings_and_paths(40)
    for graph in records:
        graph["nodes"] = [{**node, "x": float(rng.normal())} for node in graph["nodes"]]
    task = create_task(written(tmp_path / "g.jsonl", records))
    model = model_for(task, f"{spec} dim=16").eval()
    found = []
    for name, part in (("one", records), ("other", [shuffled(graph, rng) for graph in records])):
        unseen = task.encoding.read(written(tmp_path / f"{name}.jsonl", part))
        found.append(torch.cat([outputs_of(model, batch) for batch in unseen.parts(64)]))
    torch.testing.assert_close(found[0], found[1], rtol=1e-4, atol=1e-4)


def test_answers_go_with_their_nodes(tmp_path: Path) -> None:
    rng, graph = np.random.default_rng(0), surrounded(60)
    graph["nodes"] = [
        {"id": f"n{i}", "x": float(rng.normal()), **node} for i, node in enumerate(graph["nodes"])
    ]
    named = {**graph, "edges": [[f"n{i}", f"n{j}"] for i, j in graph["edges"]]}
    task = create_task(written(tmp_path / "g.jsonl", [named]), target="nodes.label")
    model = model_for(task, "graphormer dim=16").eval()
    tables = []
    for record in (named, {**named, "nodes": [named["nodes"][i] for i in rng.permutation(60)]}):
        record = {
            **record,
            "nodes": [{k: v for k, v in node.items() if k != "label"} for node in record["nodes"]],
        }
        unseen = task.encoding.read(written(tmp_path / "new.jsonl", [record]))
        outputs = torch.cat([outputs_of(model, batch) for batch in unseen.parts(64)])
        tables.append(task.encoding.answers(unseen, outputs).set_index("node"))
    pred = tables[1].loc[tables[0].index]
    assert len(pred) == 60 and np.allclose(pred.iloc[:, 1:], tables[0].iloc[:, 1:], atol=1e-4)


def test_nodes_without_a_target_are_asked_about(tmp_path: Path) -> None:
    graph = surrounded(60)
    task = create_task(written(tmp_path / "g.jsonl", [graph]), target="nodes.label")
    unknown = [i for i, node in enumerate(graph["nodes"]) if "label" not in node]
    unseen = task.encoding.read(tmp_path / "g.jsonl")
    assert unseen.names["node"].tolist() == unknown and len(unknown) > 0
    assert any(
        f"answers are about the {len(unknown)} of 60 nodes without 'label'" in r for r in unseen.remarks
    )
    (batch,) = unseen.parts(1)
    assert len(batch) == len(unknown) and batch.side["edges"].shape == (1, 60, 60)


def test_new_values_are_said(tmp_path: Path) -> None:
    task = create_task(
        written(
            tmp_path / "g.jsonl",
            [{**g, "edges": [[*e, "k"] for e in g["edges"]]} for g in rings_and_paths(60)],
        )
    )
    new = {"nodes": [{"colour": "violet"}, {"colour": "red"}], "edges": [[0, 1, "other"]]}
    remarks = task.encoding.read(written(tmp_path / "new.jsonl", [new])).remarks
    assert "'colour': values that training showed at most once are read as one ('violet')" in remarks
    assert "kinds of edges that training showed at most once are read as one ('other', ...)" in remarks
    with pytest.raises(DataError, match="the model needs the field 'colour' of nodes"):
        task.encoding.read(written(tmp_path / "new.jsonl", [{"nodes": 2, "edges": [[0, 1]]}]))
    assert create_model("gin", stream=task.stream.model_dump(), num_outputs=2, pool="mean")


def test_many_graphs_are_read_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path / "g.jsonl", rings_and_paths(60))
    task = create_task(path)
    monkeypatch.setattr("anyformer.tasks.graphs.encoding.MOST_PAIRS", 500)
    parts = list(task.encoding.read(path).parts(64))
    assert len(parts) > 5 and sum(map(len, parts)) == 60
    assert all(part.side["edges"].numel() <= 500 for part in parts)
