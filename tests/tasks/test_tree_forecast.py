"""The forecast of boosted trees: it reads the window, the step and what is known of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from anyformer.tasks import score_reference
from anyformer.tasks.forecasting import ForecastTask
from anyformer.tasks.tree_forecast import TreeForecast

from .panels import opened, sales


def few(folder: Path, **options: object) -> ForecastTask:
    frame = sales(120, 3)
    frame["kind"] = frame["shop"].map({"s0": "x", "s1": "y", "s2": "x"})
    return opened(folder, frame, context=8, horizon=3, **options)


def test_what_is_known_ahead_is_a_feature_of_its_step(tmp_path: Path) -> None:
    task = few(tmp_path, known="promo", category="promo")
    reference = TreeForecast([0]).fit(task)
    naive = score_reference(task.references()[0].fit(task), task)
    assert score_reference(reference, task) < 0.4 * naive
    batch = task.sample("test", 20)
    features, codes = reference._features(batch, 0)
    assert codes == 2 and features.shape == (60, 1 + 7 + 2)
    assert isinstance(batch.inputs, dict)
    assert np.array_equal(
        features[:, -2:], torch.stack([batch.inputs[n] for n in batch.inputs], -1).flatten(0, 1)
    )
    assert features[:6, 0].tolist() == [0, 1, 2, 0, 1, 2]
    assert reference.predict(batch).shape == (20, 3)


def test_of_the_past_alone_the_last_category_counts(tmp_path: Path) -> None:
    task = few(tmp_path, category="promo")
    batch = task.sample("test", 20)
    reference = TreeForecast([0]).fit(task)
    features, codes = reference._features(batch, 0)
    assert isinstance(batch.inputs, dict) and codes == 2
    assert np.array_equal(features[::3, -2], batch.inputs["promo"][:, -1])
    assert reference.predict(batch).isfinite().all()


@pytest.mark.parametrize("quantiles", [None, [0.2, 0.5]])
def test_it_stands_on_the_board_where_there_are_covariates(
    tmp_path: Path, quantiles: list[float] | None
) -> None:
    names = [one.name for one in few(tmp_path, quantiles=quantiles).references()]
    assert names[:4].count("boosted trees") == 1
    plain = opened(tmp_path, sales(120, 3).drop(columns="promo"), context=8, horizon=3)
    assert "boosted trees" not in [one.name for one in plain.references()]


def test_unknown_targets_are_borne(tmp_path: Path) -> None:
    frame = sales(120, 2)
    frame.loc[frame.index % 7 == 0, "sold"] = np.nan
    task = opened(tmp_path, frame, context=8, horizon=3, known="promo")
    assert np.isfinite(score_reference(TreeForecast([0]).fit(task), task))
