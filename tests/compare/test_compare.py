"""Whole comparisons, small: from the call to the files, through kills and failures."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from anyformer.compare import Results, compare, resume, session
from anyformer.compare.results.formats import how_to_use
from anyformer.compare.run.scheduler import Scheduler
from anyformer.compare.verdict.judge import judge
from anyformer.models import SequenceModel
from anyformer.tasks import create_task, mapped
from anyformer.train import load_bundle

pytestmark = pytest.mark.usefixtures("brief_costs")
SMALL = {"vocab_size": 8, "num_pairs": 2, "length": 12}
SETTINGS = {
    "budget": "40 steps",
    "options": SMALL,
    "parameters": 8000,
    "batch_size": 8,
    "workers": 2,
    "quiet": True,
}

# Its loss is not finite as soon as it has been trained a little, and it takes all memory when asked to.
FAULTY = """
import torch
from anyformer import Mixer, MixerInfo

class Faulty(Mixer):
    class Options(Mixer.Options):
        fault: str = "division"

        def info(self):
            return MixerInfo(reach=(0, 0), memory="n", state="none")

    def __init__(self, dim, **options):
        super().__init__(dim, **options)
        self.fault = self.options.fault
        self.scale = torch.nn.Parameter(torch.ones(dim))

    def _forward(self, x, inputs):
        if self.training and self.fault == "division":
            return x * self.scale / 0.0
        if self.training and self.fault == "memory":
            return x * torch.empty(2**60)[0]
        return x * self.scale
"""


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """One comparison of three candidates that work, two of them the same, with three that cannot."""
    folder = tmp_path_factory.mktemp("compare")
    (folder / "faulty.py").write_text(FAULTY)
    faulty = folder / "faulty.py"
    models = {
        "transformer": "transformer",
        "retnet": "retnet",
        "twin": "retnet",
        "bidirectional": "transformer causal=false",
        "diverges": f"[{faulty}:Faulty(fault=division)]",
        "greedy": f"[{faulty}:Faulty(fault=memory)]",
    }
    return compare("recall", models, out=folder / "out", **SETTINGS)


def test_files_are_there(finished):
    names = {path.name for path in finished.folder.iterdir()}
    assert {"report.html", "results.json", "plan.json", "study.db", "winner"} <= names
    assert Results.load(finished.folder / "results.json") == finished.results


def test_the_rest_finish(finished):
    status = {c.name: (c.status, c.reason) for c in finished.results.tasks[0].candidates}
    assert status["transformer"][0] == status["retnet"][0] == "ok"
    assert status["bidirectional"][0] == "bad_spec"
    assert "later tokens" in status["bidirectional"][1]
    assert status["diverges"][0] == "diverged"
    assert status["greedy"][0] == "out_of_memory"


def test_what_was_measured(finished):
    result = finished.results.tasks[0]
    for candidate in result.candidates[:3]:
        assert len(candidate.runs) == 3
        assert len(candidate.search) >= 5, "three rates or more, and two of them again for longer"
        assert candidate.learning_rate in result.settings.ladder
        assert candidate.rate_lies == "inside"
        assert abs(candidate.parameters / 8000 - 1) <= 0.02
        assert all("lack of time" in note for note in candidate.costs.notes), "the machine may be busy"
        for run in candidate.runs:
            assert run.curve[-1].step == 40
            assert set(run.by_length) == {24, 48}
    assert [r.name for r in result.references] == ["chance", "any value seen"]
    assert {row.name for row in result.leaderboard} == {
        "transformer",
        "retnet",
        "twin",
        "chance",
        "any value seen",
    }
    assert result.verdict.headline in (finished.folder / "report.html").read_text()


def test_the_winner_predicts(finished):
    model = SequenceModel.from_pretrained(finished.winner)
    facts = json.loads((finished.winner / "task.json").read_text())
    assert facts["source"] == "recall"
    task = create_task(facts["source"], **facts["options"])
    batch = next(task.eval_batches("test", 4))
    with torch.no_grad():
        assert model.eval()(batch.x).shape == (4, 12, 8)


def test_the_saved_one_of_those_tied_is_chosen_by_validation(finished):
    result = finished.results.tasks[0]
    valid = {c.name: sum(run.valid for run in c.runs) for c in result.candidates[:3]}
    assert {"retnet", "twin"} <= set(result.verdict.best) or result.verdict.best == ["transformer"]
    assert valid[result.saved] == max(valid[name] for name in result.verdict.best)
    assert (f"{result.saved} is saved: the best in validation" in result.saved_note) is (
        len(result.verdict.best) > 1
    )
    assert result.saved_note in (finished.folder / "report.html").read_text()


def test_what_more_time_would_bring_is_told_with_its_interval(finished):
    result = finished.results.tasks[0]
    for candidate in result.candidates[:3]:
        samples = [one.valid_sample for one in [*candidate.search, *candidate.runs]]
        assert len({tuple(one.weights) for one in samples}) == 1, "all runs were scored on common samples"
    assert any(
        "the next doubling of its steps would" in text and "95% interval" in text
        for text in result.verdict.details
    )


def test_resuming_what_is_finished_changes_nothing(finished):
    before = (finished.folder / "results.json").read_text()
    again = resume(finished.folder, trust_code=True, quiet=True)
    scores = [[run.test for run in c.runs] for c in finished.results.tasks[0].candidates]
    assert [[run.test for run in c.runs] for c in again.results.tasks[0].candidates] == scores
    assert json.loads(before)["tasks"] == json.loads((finished.folder / "results.json").read_text())["tasks"]


def test_the_end_says_where_the_model_is_and_how_it_is_used(finished, capsys):
    resume(finished.folder, trust_code=True)
    said = capsys.readouterr().out
    assert f"\nModel: {finished.winner} ({finished.results.tasks[0].saved})\n" in said
    use = f"anyformer generate {finished.winner} --prompt ..."
    assert f"\nUse it: {use} --trust-code\n" in said, "the plan names a file of Python"
    assert use in finished.report.read_text()
    result = finished.results.tasks[0].model_copy(deep=True)
    result.task.writes = False
    assert how_to_use(result, "a winner") == "SequenceModel.from_pretrained('a winner')"
    result.task.predicts = True
    assert how_to_use(result, "a winner") == "anyformer predict 'a winner' NEW_FILE"


def test_identical_candidates_tie(finished):
    result = finished.results.tasks[0]
    first, second = result.candidates[1:3]
    assert [run.test for run in first.runs] == [run.test for run in second.runs]
    assert judge(result.task.metric, [first, second], [])[1].kind == "too_close"


SCRIPT = """
from anyformer.compare import compare, resume
from anyformer.compare.plan.schema import Plan
Plan.measure_seconds = 0.05
if __name__ == "__main__":
    import sys
    if sys.argv[2] == "start":
        compare("recall", "transformer, retnet", out=sys.argv[1], budget="40 steps", options={options!r},
                parameters=8000, batch_size=8, workers=2, quiet=True)
    else:
        resume(sys.argv[1], quiet=True)
"""


@pytest.mark.skipif(os.name != "posix", reason="needs signals")
def test_killed_and_resumed_is_as_if_never_killed(finished, tmp_path):
    """``kill -9`` at every stage; the scores are those of the comparison that ran through, bit for bit."""
    script, folder = tmp_path / "script.py", tmp_path / "out"
    script.write_text(SCRIPT.format(options=SMALL))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}

    def run(mode: str) -> subprocess.Popen:
        return subprocess.Popen([sys.executable, str(script), str(folder), mode], env=environment)

    def results() -> int:
        return len(list(folder.glob("units/*/result.json")))

    for number, enough in enumerate((3, 14)):
        process = run("resume" if number else "start")
        while results() < enough:
            assert process.poll() is None, "it ended before it was killed"
            time.sleep(0.02)
        process.kill()
        process.wait()
    assert run("resume").wait() == 0
    found = Results.load(folder / "results.json").tasks[0]
    whole = finished.results.tasks[0]
    for mine in found.candidates:
        other = next(c for c in whole.candidates if c.name == mine.name)
        assert [run.test for run in mine.runs] == [run.test for run in other.runs]
    attempts = [len(path.read_text().split()) for path in Path(folder).glob("units/*/owners")]
    assert max(attempts) <= 3, "a unit was taken up more often than it was dropped"
    assert len(attempts) == len(list(folder.glob("units/*")))


def test_large_arrays_are_mapped_by_all_processes_and_gone_at_the_end(tmp_path, monkeypatch):
    rows = [f"{i % 7},{i * 7 % 5},{'ab'[i % 7 > 3]}" for i in range(300)]
    (tmp_path / "data.csv").write_text("\n".join(["x,y,label", *rows, ""]))
    settings = {"target": "label", "budget": "6 steps", "parameters": 20_687, "batch_size": 8, "quiet": True}
    seen = []

    def spied(*args, **more):
        seen.append(sorted(path.name for path in (tmp_path / "out" / "columns").rglob("*.npy")))
        return score(*args, **more)

    score = Scheduler.score
    monkeypatch.setattr(Scheduler, "score", spied)
    monkeypatch.setattr(mapped, "LEAST", 1)
    monkeypatch.setattr(mapped, "LARGE", 1)
    found = compare(tmp_path / "data.csv", "mamba", out=tmp_path / "out", seeds=3, workers=1, **settings)
    assert found.results.tasks[0].candidates[0].status == "ok" and len(seen[0]) > 2
    assert not (tmp_path / "out" / "columns").exists()
    assert len(load_bundle(tmp_path / "out" / "winner").predict(tmp_path / "data.csv").table) == 300


def test_default_candidates_are_told_with_their_reason(tmp_path, monkeypatch, capsys):
    plans = []
    monkeypatch.setattr(session, "carry_out", lambda plan, *rest: plans.append(plan))
    for name, models in (("asked", "retnet"), ("default", None)):
        compare("recall", models, out=tmp_path / name, budget="40 steps", parameters=8000)
        told = " ".join(capsys.readouterr().out.split())
        reason = "candidates, as none are named: transformer, mamba depth=2, retnet, delta_net; attention looks back"
        assert (reason in told) == (models is None)
        assert any(remark.startswith(reason) for remark in plans[-1].tasks[0].remarks) == (models is None)


def test_only_the_first_comparison_of_a_command_begins_with_its_process(monkeypatch) -> None:
    monkeypatch.setattr(session, "_starts", [])
    monkeypatch.setattr(session, "began", lambda: -1000.0)
    monkeypatch.setattr(session, "command_line", lambda: "anyformer bench real data")
    first, second = session.now(), session.now()
    assert first.elapsed() > 1000 and second.elapsed() < 100
    monkeypatch.setattr(session, "_starts", [])
    monkeypatch.setattr(session, "command_line", lambda: "")
    assert session.now().elapsed() < 100
