"""Results in a file."""

from __future__ import annotations

import json

import synthetic

from anyformer.compare.results import Results


def test_results_survive_the_file(tmp_path):
    results = synthetic.results()
    results.tasks[0].candidates[0].runs[0].curve[0].train_loss = float("nan")
    results.save(tmp_path / "results.json")
    loaded = Results.load(tmp_path / "results.json")
    assert loaded.tasks[0].candidates[0].runs[0].curve[0].train_loss != 0
    assert loaded.model_dump_json() == results.model_dump_json()


def test_results_from_before_references_had_costs_are_read(tmp_path):
    written = json.loads(synthetic.results().model_dump_json())
    for reference in written["tasks"][0]["references"]:
        for name in ("parameters", "fit_seconds", "predict_ms"):
            del reference[name]
    (tmp_path / "results.json").write_text(json.dumps(written))
    assert Results.load(tmp_path / "results.json").tasks[0].references[0].fit_seconds is None
