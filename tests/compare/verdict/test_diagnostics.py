"""Sentences about the data, from scores under changes: no stronger than the scores, and in a report."""

from __future__ import annotations

import errno
import html
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from anyformer.compare import compare
from anyformer.compare.results import Sample
from anyformer.compare.run.probes import Probe, evaluate_probe
from anyformer.compare.verdict import diagnostics
from anyformer.compare.verdict.diagnostics import told_of
from anyformer.machine import MachineFault
from anyformer.metrics import MetricInfo
from anyformer.tasks import Evaluation

ACCURACY = MetricInfo(name="accuracy", higher_is_better=True, best=1.0)
ERROR = MetricInfo(name="mae", higher_is_better=False, best=0.0, unit="kW")


def sample(score: float, noise: float = 0.01, seed: int = 0) -> Sample:
    values = score + np.random.default_rng(seed).normal(0, noise, 50)
    return Sample(score=float(values.mean()), sums=values.tolist(), weights=[1.0] * 50)


def told(metric: MetricInfo, kind: str, **scores: float) -> str:
    samples = {("whole", ""): sample(0.9)}
    samples |= {(kind, detail.strip("_")): sample(score, seed=1) for detail, score in scores.items()}
    (found,) = told_of(metric, "mamba", samples, 32)
    assert found.kind == kind and set(found.changed) == {detail.strip("_") for detail in scores}
    return found.told


@pytest.mark.parametrize(
    ("metric", "kind", "scores", "words"),
    [
        (
            ACCURACY,
            "order",
            {"_": 0.5},
            "Order counts: mamba uses it, .* its accuracy goes from 0.90.* to 0.50",
        ),
        (ACCURACY, "order", {"_": 0.9}, "no loss beyond chance: nothing shows that mamba uses order"),
        (ERROR, "order", {"_": 1.4}, "Order counts: .* mae goes from 0.90.* to 1.40.* kW"),
        (ERROR, "order", {"_": 0.5}, "no loss beyond chance"),
        (
            ACCURACY,
            "context",
            {"_16": 0.9, "_4": 0.9, "_2": 0.7, "_1": 0.5},
            "about the last 4 of 32 .* last 2 alone",
        ),
        (
            ACCURACY,
            "context",
            {"_16": 0.7, "_4": 0.5},
            "uses all 32 elements, with the last 16 alone .* 0.70",
        ),
        (
            ACCURACY,
            "context",
            {"_16": 0.9, "_4": 0.9},
            "with the last 4 of 32 .* nothing shows that a longer memory",
        ),
        (
            ERROR,
            "variates",
            {"rain": 1.2, "wind": 1.8, "snow": 0.9},
            "uses wind: .* to 1.80.* kW; it uses rain too",
        ),
        (ERROR, "variates", {"rain": 0.9}, "in rain, mamba loses nothing beyond chance"),
        (ERROR, "trend", {"_": 1.4}, "makes more of a trend than a line"),
        (
            ERROR,
            "trend",
            {"_": 0.4},
            "which is better: forecasts of the data without its trend are worth a try",
        ),
        (ERROR, "trend", {"_": 0.9}, "nothing shows that mamba makes more of it than a line"),
    ],
)
def test_what_is_told(metric: MetricInfo, kind: str, scores: dict[str, float], words: str) -> None:
    assert re.search(words, told(metric, kind, **scores))


def test_nothing_is_told_of_a_score_that_is_none() -> None:
    broken = Sample(score=float("nan"))
    assert told_of(ACCURACY, "mamba", {("whole", ""): broken, ("order", ""): sample(0.5)}, 32) == []
    assert told_of(ACCURACY, "mamba", {("whole", ""): sample(0.5), ("order", ""): broken}, 32) == []
    assert told_of(ACCURACY, "mamba", {("order", ""): sample(0.5)}, 32) == []


def test_noise_tells_nothing() -> None:
    samples = {("whole", ""): sample(0.5, 0.4), ("order", ""): sample(0.48, 0.4, seed=3)}
    assert "no loss beyond chance" in told_of(ACCURACY, "mamba", samples, 32)[0].told


def write_rows(path: Path) -> Path:
    """Write a table whose column x decides the label."""
    draws = enumerate(np.random.default_rng(0).normal(0, 1, (400, 2)))
    rows = [f"{x:.3f},{z:.3f},{'uv'[i % 2]},{'ab'[int(x > 0)]}" for i, (x, z) in draws]
    path.write_text("\n".join(["x,z,kind,label", *rows, ""]))
    return path


@pytest.mark.usefixtures("brief_costs")
def test_a_comparison_tells_that_one_column_decides(tmp_path: Path) -> None:
    settings = {"target": "label", "budget": "60 steps", "batch_size": 32, "workers": 1, "quiet": True}
    path = write_rows(tmp_path / "data.csv")
    found = compare(path, "transformer", out=tmp_path / "out", parameters=8000, **settings)
    (said,) = found.results.tasks[0].diagnostics
    assert said.kind == "variates"
    assert said.changed["x"] < said.score - 0.2 and "uses x: " in said.told
    assert said.told in found.report.read_text()


@pytest.mark.usefixtures("brief_costs")
def test_changes_that_cannot_be_scored_are_said_and_the_others_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = {"z": RuntimeError("sizes must match"), "kind": MemoryError()}

    def scored(probe: Probe, *rest: Any) -> Evaluation:
        if probe.detail in broken:
            raise broken[probe.detail]
        return evaluate_probe(probe, *rest)

    monkeypatch.setattr(diagnostics, "evaluate_probe", scored)
    settings = {"target": "label", "budget": "60 steps", "batch_size": 32, "workers": 1, "parameters": 8000}
    path = write_rows(tmp_path / "data.csv")
    found = compare(path, "transformer", out=tmp_path / "out", refit=False, **settings)
    (result,) = found.results.tasks
    assert [set(one.changed) for one in result.diagnostics] == [{"x"}]
    assert "variates (z); " in result.undiagnosed[0] and "(RuntimeError: sizes must" in result.undiagnosed[0]
    assert "variates (kind); " in result.undiagnosed[1] and "(out of memory: no" in result.undiagnosed[1]
    page, printed = found.report.read_text(), "".join(capsys.readouterr().out.split())
    for said in result.undiagnosed:
        assert html.escape(said) in page and "".join(said.split()) in printed


def test_failures_with_one_reason_are_one_sentence() -> None:
    failures = {("order", ""): "no", ("context", "8"): "no", ("context", "2"): "no", ("trend", ""): "other"}
    first, second = diagnostics.failed_words("mamba", failures)  # type: ignore[arg-type]
    assert "Not known: order and the length of memory (8 and 2); scoring mamba on" in first
    (nothing,) = diagnostics.failed_words("mamba", {("whole", ""): "no"})
    assert nothing == "Nothing is known of what mamba uses of the data: scoring it again failed (no)."
    assert first.endswith("failed (no).") and "Not known: trend;" in second and "(other)" in second


def test_a_fault_of_the_machine_is_not_one_of_the_model(tmp_path: Path) -> None:
    with pytest.raises(MachineFault, match="disk is full"):
        diagnostics._reason(OSError(errno.ENOSPC, "no space"), tmp_path)
