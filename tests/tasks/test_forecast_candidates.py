"""Forecasts are compared by models that suit their columns, and a reason is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from anyformer.compare import compare, session
from anyformer.compare.run.costs import bare_trainer, measure
from anyformer.tasks import open_data
from anyformer.tasks.base import Task
from anyformer.tasks.forecast_candidates import WHY_ALONE, WHY_SEVERAL
from anyformer.train import Fit, load_bundle, model_for


def opened(folder: Path, columns: list[str], **options: Any) -> Task:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({name: rng.standard_normal(300).cumsum() for name in columns})
    if "known" in options:
        frame["promo"] = rng.integers(0, 2, 300)
    frame.to_csv(folder / "data.csv", index=False)
    return open_data(folder / "data.csv", columns[0], kind="forecast", context=24, horizon=4, **options)


@pytest.mark.parametrize(("columns", "own"), [(["y"], "transformer"), (["y", "a", "b"], "itransformer")])
def test_windows_have_candidates_that_read_them_whole(tmp_path: Path, columns: list[str], own: str) -> None:
    task = opened(tmp_path, columns)
    assert {"dlinear", "patchtst", own, "mamba depth=2"} == set(task.candidates) and task.why in (
        WHY_ALONE,
        WHY_SEVERAL,
    )
    for name in task.candidates:
        assert model_for(task, name, dim=16).num_parameters() > 0


def test_columns_known_ahead_leave_those_of_any_data(tmp_path: Path) -> None:
    task = opened(tmp_path, ["y"], known=["promo"])
    assert task.candidates == Task.candidates and task.why == Task.why
    with pytest.raises(ValueError, match="variates embeds windows .* known ahead, static or categories"):
        model_for(task, "dlinear", dim=16)


def test_compare_says_which_and_why(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "carry_out", lambda plan, *_: plan)
    task = opened(tmp_path, ["y"])
    for models, told in ((None, True), ("dlinear", False)):
        plan: Any = compare(task, models, budget="9 steps", workers=1, out=tmp_path / str(told))
        words = "none are named: dlinear, patchtst, transformer, mamba depth=2; the series stands alone"
        assert (words in " ".join(capsys.readouterr().out.split())) == told
        assert [c.problem for c in plan.tasks[0].candidates] == [""] * (4 if told else 1)


@pytest.mark.parametrize("name", ["dlinear", "patchtst"])
def test_costs_of_what_reads_windows_whole(tmp_path: Path, name: str) -> None:
    task = opened(tmp_path, ["y", "a"])
    costs = measure(bare_trainer(task, model_for(task, name, dim=8), 4), 2.0)
    assert "does not stream: a window is read whole" in costs.notes
    assert not [note for note in costs.notes if "was not measured" in note]
    assert costs.flops_per_token and costs.flops_per_token > 0 and costs.token_latency_ms is None
    assert list(costs.prefill_ms) == [24] and not costs.state_bytes


def test_they_are_trained_saved_and_predict(tmp_path: Path) -> None:
    """Several targets, quantiles, and values that are missing; the saved model forecasts what the trained one does."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({name: rng.standard_normal(400).cumsum() for name in "abc"})
    frame.loc[rng.random(400) < 0.05, "b"] = np.nan
    frame.to_csv(tmp_path / "data.csv", index=False)
    options = {"kind": "forecast", "context": 24, "horizon": 4, "quantiles": [0.1, 0.5, 0.9]}
    for name in ("dlinear", "nlinear", "patchtst", "itransformer", "tsmixer columns=all"):
        out = tmp_path / name.split()[0]
        fit = Fit.start(
            out,
            tmp_path / "data.csv",
            f"{name} dim=8",
            target=["c", "a"],
            steps=2,
            batch_size=8,
            options=options,
        )
        fit.run()
        bundle = load_bundle(out)
        assert bundle.encoding is not None
        unseen = bundle.encoding.read(tmp_path / "data.csv")
        told = bundle.predict(tmp_path / "data.csv").table
        assert (
            list(told) == ["step", *(f"{c}_q{q}" for c in "ca" for q in (0.1, 0.5, 0.9))] and len(told) == 4
        )
        with torch.no_grad():
            expected = bundle.encoding.answers(unseen, fit.trainer.model.cpu().eval()(unseen.batch.x))
        np.testing.assert_allclose(told.to_numpy(float), expected.to_numpy(float), rtol=1e-4)
