"""The steps of several series, one below the other."""

from __future__ import annotations

import numpy as np

from anyformer.tasks.steps import Series, Steps

NAN = np.nan


def test_steps_keep_to_their_series() -> None:
    one = Series(
        np.array([[NAN], [1.0], [NAN]]),
        5,
        "a",
        np.array([[7.0], [NAN], [9.0]]),
        {"c": np.array(["x", None, "y"])},
    )
    two = Series(np.array([[NAN], [2.0]]), 6, "b", np.array([[1.0], [2.0]]), {"c": np.array(["z", "z"])})
    steps = Steps([one, two])
    np.testing.assert_array_equal(steps.values[:, 0], [NAN, 1, 1, NAN, 2])  # not filled from another series
    assert steps.missing[:, 0].tolist() == [True, False, True, True, False]
    assert steps.grid.tolist() == [5, 6, 7, 6, 7] and steps.owner.tolist() == [0, 0, 0, 1, 1]
    np.testing.assert_array_equal(steps.covariates[:, 0], [7, NAN, 9, 1, 2])
    assert steps.texts["c"].tolist() == ["x", None, "y", "z", "z"] and len(steps) == 5


def test_a_series_without_covariates_has_none_at_each_step() -> None:
    assert Series(np.zeros((4, 2))).covariates.shape == (4, 0)
