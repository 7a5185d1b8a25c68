"""Studies are held to their own rule."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from anyformer.compare import TaskResult, compare
from anyformer.compare.plan import learning_rate_search as ladder
from anyformer.compare.results import Machine
from anyformer.models import load_spec
from anyformer_papers.study import Arm, Study, StudyRecord, differing_fields

pytestmark = pytest.mark.usefixtures("brief_costs")
ARMS = {"attention": "[attention]*2", "again": "[attention]*2", "pooling": "[pooling]*2"}
RECALL = {"vocab_size": 8, "num_pairs": 2, "length": 12}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> TaskResult:
    """One comparison of an arm, the same arm again, and one that is bound to lose."""
    folder = tmp_path_factory.mktemp("study") / "comparison"
    with pytest.MonkeyPatch.context() as patch:
        # a short run favours 0.02, at which one seed in three does not learn
        patch.setattr(ladder, "RUNGS", ladder.RUNGS[: ladder.RUNGS.index(0.01) + 1])
        done = compare(
            "recall",
            ARMS,
            options=RECALL,
            budget="400 steps",
            parameters=8000,
            seeds=3,
            out=folder,
            workers=1,
            quiet=True,
        )
    return done.results.tasks[0]


def study(*arms: str, **changes: object) -> Study:
    given = Study("recall", {name: ARMS[name] for name in arms}, 0.1, options=RECALL, seeds=3)
    return replace(given, **changes)  # type: ignore[arg-type]


def test_verdicts(trained: TaskResult) -> None:
    assert study("attention", "again").judge(trained)[0] == "too close"
    assert study("attention", "pooling").judge(trained)[0] == "reproduced"
    assert study("pooling", "attention").judge(trained)[0] == "reversed"
    assert study("attention", "again", expect="no worse").judge(trained)[0] == "reproduced"
    assert study("pooling", "attention", expect="no worse").judge(trained)[0] == "reversed"
    assert study("attention", "again", smallest=1e-9).judge(trained)[0] in ("underpowered", "too close")


def test_uninformative(trained: TaskResult) -> None:
    weak = trained.model_copy(update={"candidates": [c for c in trained.candidates if c.name != "attention"]})
    verdict, words, _ = study("pooling", "attention").judge(weak)
    assert verdict == "uninformative" and "attention did not finish" in words
    losers = {c.name: c for c in trained.candidates}
    twice = [losers["pooling"], losers["pooling"].model_copy(update={"name": "again"})]
    verdict, words, _ = study("pooling", "again").judge(trained.model_copy(update={"candidates": twice}))
    assert verdict == "uninformative" and "is not beaten" in words


def test_judged_at_a_longer_length(trained: TaskResult) -> None:
    verdict, words, _ = study("attention", "pooling", times_longer=2).judge(trained)
    assert "at length 24" in words
    best = next(c for c in trained.candidates if c.name == "attention").runs[0].by_length
    strong = [r.model_copy(update={"by_length": best}) for r in trained.references]
    verdict, words, _ = study("attention", "pooling", times_longer=2).judge(
        trained.model_copy(update={"references": strong})
    )
    assert verdict == "uninformative" and "is not beaten" in words
    unknown = [r.model_copy(update={"by_length": {}}) for r in trained.references]
    with pytest.raises(ValueError, match="was not measured at length 24"):
        study("attention", "pooling", times_longer=2).judge(
            trained.model_copy(update={"references": unknown})
        )
    with pytest.raises(ValueError, match="times_longer must lead to one of"):
        study("attention", "pooling", times_longer=7).judge(trained)


def test_one_field() -> None:
    def fields(one: str, other: str) -> set[str]:
        return differing_fields(load_spec(one), load_spec(other))

    assert fields("[attention]*2 dim=16", "[attention]*2 dim=32") == set()
    assert fields("[attention]*2", "[attention(window=4)]*2") == {"layers.options.window"}
    assert fields("[attention(window=4)]*2", "[mamba]*2") == {"layers.name"}
    assert fields("[attention, mamba]*2", "[attention, attention, mamba, mamba]") == {"layers.name"}
    assert fields("[attention]*2 positions=rope", "[attention]*2 positions=alibi") == {"positions.name"}
    assert fields("[attention]*2", "[attention]*2 residual=post") == {"residual"}
    assert fields("[attention]*2", "[mamba]*2 residual=post") == {"layers.name", "residual"}


def test_refused() -> None:
    two = Study("recall", {"one": "[attention]*2", "other": "[mamba]*2 residual=post"}, 0.1)
    with pytest.raises(ValueError, match="differ in one field only, got layers.name, residual"):
        two.run()
    with pytest.raises(ValueError, match="two arms or more, got 1"):
        study("attention").specs()


def test_hashes_are_those_of_the_flat_form() -> None:
    fields = "embed=default(normed=true, scaled=true) head=linear(tied=true, bias=true)"
    encoder = "encoder=([attention], positions=learned, cross=cross_attention(num_heads=2))"
    flat = "embed_norm=true scale_embeddings=true tie_embeddings=true head_bias=true"
    flat += " encoder=[attention] encoder_positions=learned cross=cross_attention(num_heads=2)"
    for said in (f"{encoder} {fields}", flat):
        arms = {"post": f"[attention]*2 {said} residual=post", "pre": f"[attention]*2 {said}"}
        assert Study("recall", arms, 0.1).hash == "2c300d12ed2003df"


def test_an_edited_study_makes_its_records_stale(tmp_path: Path) -> None:
    given = study("attention", "pooling")
    machine = Machine(
        system="", processor="", cores=1, workers=1, threads=1, device="cpu", python="", versions={}
    )
    arm = Arm(scores=[1.0], parameters=1, learning_rate=1.0, status="ok")
    record = StudyRecord(
        date="2026-01-01",
        study=given.hash,
        verdict="reproduced",
        words="as predicted",
        metric="accuracy",
        arms={"attention": arm},
        references={},
        contrasts=[],
        seconds=1.0,
        machine=machine,
    )
    path = tmp_path / "records.jsonl"
    path.write_text(record.model_dump_json() + "\n")
    assert given.records(path) == [record] and given.records(path, stale=True) == []
    edited = replace(given, steps=given.steps + 1)
    assert edited.hash != given.hash and edited.records(path) == []
    assert edited.records(path, stale=True) == [record]
    assert given.hash == study("attention", "pooling").hash
