"""Results in a file."""

from __future__ import annotations

import synthetic

from anyformer.compare.results import Results


def test_results_survive_the_file(tmp_path):
    results = synthetic.results()
    results.tasks[0].candidates[0].runs[0].curve[0].train_loss = float("nan")
    results.save(tmp_path / "results.json")
    loaded = Results.load(tmp_path / "results.json")
    assert loaded.tasks[0].candidates[0].runs[0].curve[0].train_loss != 0
    assert loaded.model_dump_json() == results.model_dump_json()
