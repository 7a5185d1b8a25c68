"""Encodings standardise by the training data and survive saving."""

from __future__ import annotations

import json

import numpy as np
import pytest

from anyformer.tasks.encoding import (
    DataLayout,
    Standard,
    filled,
)
from anyformer.tasks.forecast_encoding import ForecastEncoding
from anyformer.tasks.readers import load_encoding
from anyformer.tasks.table_encoding import TableEncoding

NAN = np.nan


def test_statistics_leave_out_what_is_missing_or_masked() -> None:
    x = np.array([[[1.0], [NAN], [99.0]], [[3.0], [5.0], [99.0]]])
    mask = np.array([[True, True, False], [True, True, False]])
    standard = Standard.fit(x, mask, by_place=False, marks=True)
    assert standard.mean == [[3.0]] and standard.scale[0][0] == pytest.approx(np.std([1, 3, 5]))
    z = standard.encode(x)
    assert z.shape == (2, 3, 2) and z[0, 1].tolist() == [0, 1] and z[1, 0].tolist() == [0, 0]
    each = Standard.fit(x, mask, by_place=True, marks=False)
    assert each.mean == [[2.0], [5.0], [0.0]] and each.scale == [[1.0], [1.0], [1.0]]
    assert each.encode(x)[:, :2, 0].tolist() == [[-1, 0], [1, 0]]


def test_windows_are_normalised_by_their_known_values_and_back() -> None:
    layout = DataLayout(kind="series", columns=["a", "b"])
    encoding = ForecastEncoding(
        layout=layout, targets=["a"], context=3, horizon=1, floor=[0.5, 0.5], marks=True
    )
    values = np.array([[[1.0, NAN], [1.0, NAN], [4.0, NAN]]])
    missing = np.array([[[False, True], [True, True], [False, True]]])
    x, shift, scale, known = encoding.normalised(values, missing)
    assert x.shape == (1, 3, 4) and np.isfinite(x).all()
    assert (shift[0, 0, 0], scale[0, 0, 0]) == (2.5, 1.5) and scale[0, 0, 1] == 0.5  # the floor
    np.testing.assert_allclose(x[0, :, 0] * 1.5 + 2.5, values[0, :, 0])
    assert x[0, :, 2:].tolist() == missing[0].astype(float).tolist()
    assert known.tolist() == [[[True, False]]]


def test_gaps_are_filled_forwards_only() -> None:
    values = np.array([[NAN, 1.0], [2.0, NAN], [NAN, NAN], [3.0, 4.0]])
    expected = [[NAN, 1.0], [2.0, 1.0], [2.0, 1.0], [3.0, 4.0]]
    np.testing.assert_array_equal(filled(values), expected)


def test_saved_encodings_are_loaded_as_they_were() -> None:
    layout = DataLayout(kind="groups", columns=["a"], group=["shop", "item"], decimal=",", missing=["-"])
    encodings = [
        TableEncoding(layout=layout, targets=["y"], vocab_size=9, classes=["u", "v"]),
        ForecastEncoding(layout=layout, targets=["a"], context=3, horizon=1, floor=[1.0], marks=False),
    ]
    for encoding in encodings:
        again = load_encoding(json.loads(json.dumps(encoding.model_dump(mode="json"))))
        assert again == encoding and again.layout.groups == ["shop", "item"]
        assert again.layout.convention.decimal == "," and again.layout.convention.is_missing("-")
    for fields in ({}, {"kind": "other"}, {**encodings[0].model_dump(), "more": 1}):
        with pytest.raises(ValueError, match="validation error|kind of an encoding must be"):
            load_encoding(fields)


@pytest.mark.parametrize("value", [np.log(150), 0.1, 1e9 + 0.3, -7.7, 0.0])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_what_never_changes_is_not_blown_up(value: float, dtype: type) -> None:
    x = np.full((3, 50, 1), value, dtype).astype(np.float64)
    standard = Standard.fit(x, None, by_place=False, marks=False)
    assert standard.scale == [[1.0]] and abs(standard.encode(x)).max() < 1e-6
    assert abs(standard.encode(x + 0.01)).max() == pytest.approx(0.01, abs=1e-6)
    mask = np.ones((3, 50), bool)
    mask[:, 40:] = False
    x[:, 40:] = np.nan  # neither padding nor gaps are values
    assert Standard.fit(x, mask, by_place=False, marks=True).scale == [[1.0]]
