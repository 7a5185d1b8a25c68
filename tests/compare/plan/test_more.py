"""A finished comparison is gone on with: more steps for all, nothing done twice, the old results kept."""

from __future__ import annotations

import importlib
import json
import shutil
from pathlib import Path

import pytest
from fakes import in_process, quick
from typer.testing import CliRunner

from anyformer.cli import app
from anyformer.compare import Comparison, Results, compare, resume
from anyformer.compare.plan.more import extend_plan
from anyformer.compare.plan.schema import More, Plan
from anyformer.compare.report.terminal import print_results
from anyformer.terminal import new_console

SETTINGS = {"parameters": 8000, "batch_size": 8, "workers": 1, "quiet": True}
OPTIONS = {"vocab_size": 8, "num_pairs": 2, "length": 12}


@pytest.fixture(autouse=True, scope="module")
def patched():
    with pytest.MonkeyPatch.context() as patch:
        in_process(patch)
        quick(patch)
        yield


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Comparison:
    out = tmp_path_factory.mktemp("going_on") / "out"
    models = "transformer depth=1, retnet depth=1"
    return compare("recall", models, budget="20 steps", out=out, options=OPTIONS, **SETTINGS)


@pytest.fixture
def copied(finished, tmp_path) -> Path:
    shutil.copytree(finished.folder, tmp_path / "out")
    return tmp_path / "out"


def units(folder: Path, phase: str) -> set[str]:
    return {path.parent.name for path in folder.glob(f"units/*-{phase}-*/result.json")}


def test_twenty_steps_are_not_enough(finished):
    verdict = finished.verdict
    assert verdict.kind == "undertrained"
    assert verdict.headline.startswith("Not enough training to tell: each was trained for 20 steps")
    command = f"anyformer compare --more {verdict.shortage.option} {finished.folder}"
    page = finished.report.read_text(encoding="utf-8")
    assert page.index("Not enough training to tell") < page.index(command)
    console = new_console()
    with console.capture() as captured:
        print_results(finished.results, console)
    text = " ".join(captured.get().split())
    assert text.index("Not enough training to tell") < text.index("Go on with: anyformer compare --more")
    assert page.index("Not enough training to tell") < page.index("Leaderboard")


def test_more_goes_on(copied, finished):
    before = {
        phase: units(copied, phase) for phase in ("search", "calibrate", "reference", "measure", "train")
    }
    old = (copied / "results.json").read_bytes()
    more = compare(more="12 steps", out=copied, quiet=True)
    result = more.results.tasks[0]
    assert result.settings.steps == 32
    assert result.settings.budget == "20 steps, then 12 steps more"
    for phase in ("search", "calibrate", "reference", "measure"):
        assert units(copied, phase) == before[phase], "done again"
    assert before["train"] < units(copied, "train")
    assert (copied / "results-1.json").read_bytes() == old
    assert (copied / "report-1.html").exists()
    assert more.results.earlier == ["results-1.json"]
    assert Results.load(copied / "results.json") == more.results
    for candidate in result.candidates:
        assert candidate.status == "ok", candidate.reason
        assert [run.curve[-1].step for run in candidate.runs] == [32, 32, 32]
    again = compare(more="8 steps", out=copied, quiet=True)
    assert again.results.tasks[0].settings.steps == 40
    assert again.results.earlier == ["results-1.json", "results-2.json"]


@pytest.mark.parametrize(
    ("budget", "cut", "words"),
    [
        (
            "12 steps",
            False,
            "Gone on with for 12 steps after 20 steps of each run; what was found then is in kept.",
        ),
        (
            "12 steps",
            True,
            "Searched and trained anew for 12 steps, as the search before was cut short; what",
        ),
        (
            "80 steps",
            False,
            "Searched and trained anew for 80 steps, as the search before was for runs less than a",
        ),
    ],
)
def test_what_is_searched_anew_is_not_gone_on_with(finished, budget: str, cut: bool, words: str):
    plan = Plan.load(finished.folder)
    plan.search_cut = cut
    extend_plan(plan, More(budget=budget, since=1.0, kept="kept"), times=1.0)
    task = plan.tasks[0]
    assert task.remarks[-1].startswith(words) and bool(task.legs) is words.startswith("Gone on")
    assert (task.rounds is None) is not words.startswith("Gone on")


def test_more_that_was_stopped_goes_on_with_resume(copied, monkeypatch):
    whole = copied.parent / "whole"
    shutil.copytree(copied, whole)
    expected = compare(more="12 steps", out=whole, quiet=True).results.tasks[0]
    executor = importlib.import_module("anyformer.compare.run.executor")
    left, execute = [3], executor.TrainingExecutor.execute

    def stops(self, *args):
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        return execute(self, *args)

    with monkeypatch.context() as patch:
        patch.setattr(executor.TrainingExecutor, "execute", stops)
        with pytest.raises(KeyboardInterrupt):
            compare(more="12 steps", out=copied, quiet=True)
    assert not (copied / "results.json").exists()
    assert Plan.load(copied).more[0].budget == "12 steps"
    found = resume(copied, quiet=True).results.tasks[0]
    for mine, other in zip(found.candidates, expected.candidates, strict=True):
        assert [run.test for run in mine.runs] == [run.test for run in other.runs]


def test_what_cannot_be_gone_on_with(copied, tmp_path):
    with pytest.raises(ValueError, match="holds no comparison"):
        compare(more="1m", out=tmp_path / "nothing", quiet=True)
    with pytest.raises(ValueError, match="out must name the folder to go on with"):
        compare(more="1m", quiet=True)
    with pytest.raises(ValueError, match="more: expected a time"):
        compare(more="a while", out=copied, quiet=True)
    with pytest.raises(ValueError, match="it takes no task$"):
        compare("recall.csv", more="1m", out=copied, quiet=True)
    with pytest.raises(ValueError, match="it takes no budget and no workers$"):
        compare(more="1m", out=copied, budget="2m", workers=9, quiet=True)
    with pytest.raises(
        ValueError, match="resume goes on with the plan in its folder: it takes no models and no seeds$"
    ):
        compare(models="retnet", out=copied, resume=True, seeds=5, quiet=True)
    with pytest.raises(ValueError, match="more is for a comparison that has finished"):
        compare(more="1m", out=copied, resume=True, quiet=True)
    with pytest.raises(ValueError, match=r"more: 1s is too short .* give at least \d+"):
        compare(more="1s", out=copied, quiet=True)
    (copied / "finished.json").unlink()
    before = json.loads((copied / "plan.json").read_text())
    with pytest.raises(ValueError, match="has not finished: go on with --resume first"):
        compare(more="1m", out=copied, quiet=True)
    assert json.loads((copied / "plan.json").read_text()) == before


def test_on_the_command_line(copied):
    runner = CliRunner()
    nothing = runner.invoke(app, ["compare", "--more", "10m"])
    assert nothing.exit_code != 0
    assert "anyformer compare --more 10m DIR" in " ".join(nothing.output.split())
    assert runner.invoke(app, ["compare", "--more", "6 steps", str(copied)]).exit_code == 0
    assert Results.load(copied / "results.json").tasks[0].settings.steps == 26
