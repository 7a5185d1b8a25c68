"""Files of graphs from data to answers: known answers, mixers of every family, comparisons."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from graph_files import rings_and_paths, surrounded, written
from typer.testing import CliRunner

import anyformer
from anyformer.cli import app
from anyformer.compare import compare
from anyformer.compare.plan.sizes import plan_candidate
from anyformer.mixers import mixers
from anyformer.models import load_spec
from anyformer.tasks import create_task
from anyformer.tasks.graphs.jsonl import read_graphs
from anyformer.tasks.readers import reader_of
from anyformer.train import Fit, TrainConfig, Trainer, model_for
from anyformer.train.models import spec_for

EXAMPLES = Path(__file__).parents[3] / "examples" / "data"


def trained(folder: Path, data: Path, spec: str, steps: int, **options: Any) -> Fit:
    target = options.pop("target", None)
    fit = Fit.start(folder, data, spec, target=target, options=options, steps=steps, learning_rate=0.01)
    fit.run()
    return fit


def test_rings_are_told_from_paths(tmp_path: Path) -> None:
    data = written(tmp_path / "g.jsonl", rings_and_paths(200))
    fit = trained(tmp_path / "model", data, "gin dim=16 depth=2", 60)
    assert fit.test is not None and fit.test >= 0.95
    new = rings_and_paths(40, seed=9)
    path = written(tmp_path / "new.jsonl", [{k: v for k, v in g.items() if k != "label"} for g in new])
    table = anyformer.load(tmp_path / "model").predict(path).table
    assert list(table) == ["line", "label", "p(path)", "p(ring)"]
    assert sum(told == graph["label"] for told, graph in zip(table["label"], new)) >= 38


@pytest.mark.parametrize("spec", ["gin dim=16 depth=1", "graphormer dim=16 depth=1"])
def test_a_node_has_the_colour_of_most_of_its_neighbours(spec: str, tmp_path: Path) -> None:
    """Edges are needed: the fields of a node tell nothing."""
    data = written(tmp_path / "g.jsonl", [surrounded(300)])
    fit = trained(tmp_path / "model", data, spec, 100, target="nodes.label")
    assert fit.test is not None and fit.test >= 0.9, fit.test
    table = anyformer.load(tmp_path / "model").predict(data).table
    assert list(table)[:2] == ["node", "label"] and 0 < len(table) < 100


def test_numbers_of_graphs_and_of_nodes(tmp_path: Path) -> None:
    records = [{**graph, "label": len(graph["edges"]) + 0.5} for graph in rings_and_paths(100)]
    fit = trained(tmp_path / "a", written(tmp_path / "g.jsonl", records), "gin dim=16", 40)
    assert fit.test is not None and fit.test < 0.6
    table = anyformer.load(tmp_path / "a").predict(tmp_path / "g.jsonl").table
    assert abs(table["label"] - [record["label"] for record in records]).mean() < 0.6
    graph = surrounded(120)
    degrees = [sum(i in edge for edge in graph["edges"]) for i in range(120)]
    graph["nodes"] = [{"colour": node["colour"], "y": d + 0.5} for node, d in zip(graph["nodes"], degrees)]
    fit = trained(tmp_path / "b", written(tmp_path / "n.jsonl", [graph]), "gin dim=16", 60, target="nodes.y")
    assert fit.test is not None and fit.test < 0.6
    table = anyformer.load(tmp_path / "b").predict(tmp_path / "n.jsonl").table
    assert len(table) == 120 and abs(table["y"] - [d + 0.5 for d in degrees]).mean() < 0.6


MIXERS = (
    *("attention", "longformer", "nystromformer", "linear_attention", "retention", "mamba", "s4", "lstm"),
    *("hyena", "pooling", "message_passing", "graph_attention"),
)


@pytest.mark.parametrize("name", MIXERS)
def test_mixers_of_every_family_see_whole_graphs(name: str, tmp_path: Path) -> None:
    """Those that run one way only are flipped in every second layer; a window of neighbours reaches no further."""
    task = create_task(written(tmp_path / "g.jsonl", rings_and_paths(40)))
    model = model_for(task, f"[{name}]*2 dim=16")
    assert model.body.info.reach == ((2, 2) if name == "pooling" else (None, None))
    assert model.spec.positions.name == "none"
    trainer = Trainer(model, task, TrainConfig(steps=3, batch_size=8))
    trainer.run()
    assert len(trainer.losses) == 3 and 0 <= trainer.evaluate("valid").value <= 1


def test_these_mixers_are_of_every_family() -> None:
    assert {mixers.family(name) for name in MIXERS} == {mixers.family(name) for name in mixers.manifest}


def test_graphs_are_compared(tmp_path: Path) -> None:
    """A mixer without edges stands beside those with, of the same size."""
    data = written(tmp_path / "g.jsonl", rings_and_paths(60))
    task = create_task(data)
    assert task.candidates == ("gps", "gin", "graphormer", "transformer")
    for name in task.candidates:
        planned = plan_candidate(task, name, name, spec_for(task, name), 80_000, None)
        assert not planned.problem and planned.parameters is not None
        assert abs(planned.parameters / 80_000 - 1) < 0.02
        again = model_for(task, planned.spec)
        assert again.num_parameters() == planned.parameters and again.body.info.reach == (None, None)
    graphs = plan_candidate(create_task("recall"), "gin", "gin", load_spec("gin"), 80_000, None)
    assert "it needs edges beside the inputs, which this data does not have" in graphs.problem


@pytest.mark.slow
def test_a_whole_comparison(tmp_path: Path) -> None:
    data = written(tmp_path / "g.jsonl", rings_and_paths(60))
    compare(data, ["gin", "transformer"], target="label", budget="6 steps", out=tmp_path / "out", workers=1)
    held = (tmp_path / "out" / "results.json").read_text()
    assert all(name in held for name in ("gin", "transformer", "majority", "linear", "Weisfeiler-Lehman"))
    assert len(anyformer.load(tmp_path / "out" / "winner").predict(data).table) == 60
    nodes = written(tmp_path / "n.jsonl", [surrounded(60)])
    compare(
        nodes, ["gin", "transformer"], target="nodes.label", budget="6 steps", out=tmp_path / "b", workers=1
    )
    assert "label propagation" in (tmp_path / "b" / "results.json").read_text()


def test_files_of_graphs_are_told_by_their_content(tmp_path: Path) -> None:
    graphs = written(tmp_path / "g.jsonl", rings_and_paths(2))
    rows = written(tmp_path / "r.jsonl", [{"nodes": 3, "label": 1}, {"nodes": 4, "label": 2}])
    texts = written(tmp_path / "t.jsonl", [{"text": 'of "nodes" and "edges"', "label": 1}])
    assert reader_of(graphs).id == "graphs" and reader_of(rows).id == reader_of(texts).id == "tables"
    assert reader_of(EXAMPLES / "friends").id == "node_tables"
    (tmp_path / "g.json").write_text(json.dumps(surrounded(30), indent=1))
    assert reader_of(tmp_path / "g.json").id == "graphs"
    packed = tmp_path / "g.jsonl.gz"
    packed.write_bytes(gzip.compress(b"\n" + graphs.read_bytes()))
    assert reader_of(packed).id == "graphs" and len(read_graphs(packed).names) == 2
    packed.write_bytes(gzip.compress(graphs.read_bytes())[:40])
    assert reader_of(packed).id == "tables"


@pytest.mark.parametrize(
    ("name", "target", "spec", "steps"),
    [("molecules.jsonl", "carbonyl", "gin dim=32", 120), ("friends", "hears", "gin dim=16", 40)],
)
def test_examples(name: str, target: str, spec: str, steps: int, tmp_path: Path) -> None:
    fit = trained(tmp_path / "model", EXAMPLES / name, spec, steps, target=target)
    assert fit.test is not None and fit.test > 0.75
    assert len(anyformer.load(tmp_path / "model").predict(EXAMPLES / name).table)


def test_commands(tmp_path: Path) -> None:
    """Trained, and predicted into a file as the data is written, with what was found said before."""
    nodes, out = EXAMPLES / "friends" / "nodes.csv", tmp_path / "model"
    given = ["--target", "hears", "--option", "edges=edges.csv", "--option", "walks=4"]
    done = CliRunner().invoke(
        app, ["train", str(nodes), *given, "--model", "gin dim=16", "--steps", "2", "--out", str(out)]
    )
    said = " ".join(done.output.split())
    assert done.exit_code == 0, done.output
    assert "nodes: nodes are named by 'person'" in said and "walks of 2 to 4 steps return to it" in said
    assert "Use it: anyformer predict" in said
    file = tmp_path / "told.csv"
    done = CliRunner().invoke(app, ["predict", str(out), str(nodes), "--out", str(file)])
    assert done.exit_code == 0 and "answers are about the 35 of 200 nodes without 'hears'" in " ".join(
        done.output.split()
    )
    lines = file.read_text().splitlines()
    assert lines[0] == "node,hears,p(Basque),p(Breton)" and len(lines) == 36


def test_training_goes_on_with_side_inputs(tmp_path: Path) -> None:
    """Stopped and resumed, it ends with the weights of one that was not stopped."""
    data = written(tmp_path / "g.jsonl", rings_and_paths(40))
    task = create_task(data)
    whole, parts = (
        Trainer(model_for(task, "graphormer dim=16"), task, TrainConfig(steps=6, batch_size=4))
        for _ in range(2)
    )
    whole.run()
    parts.run(until=3)
    parts.save(tmp_path / "checkpoint.pt")
    again = Trainer(model_for(task, "graphormer dim=16", seed=3), task, TrainConfig(steps=6, batch_size=4))
    again.load(tmp_path / "checkpoint.pt")
    again.run()
    for one, other in zip(whole.model.parameters(), again.model.parameters()):
        assert torch.equal(one, other)
