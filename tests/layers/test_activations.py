"""Activations by name, and their errors."""

from __future__ import annotations

import pytest
import torch

from anyformer.laws.measures import close
from anyformer.layers.activations import create_activation, list_activations
from anyformer.layers.activations.rational import Rational


@pytest.mark.parametrize("name", list_activations())
def test_every_name_keeps_the_shape(name: str) -> None:
    y = create_activation(name, 16)(torch.randn(2, 3, 16))
    assert y.shape == (2, 3, 16) and y.isfinite().all()


def test_options() -> None:
    assert len(create_activation({"name": "poly_relu", "order": 5}, 8).coefficients) == 6
    spec = {"name": "rational", "tag": None, "options": {"groups": 2}, "inner": []}
    assert create_activation(spec, 8).denominator.shape == (2, 4)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("gellu", "unknown activation 'gellu'; did you mean 'gelu'"),
        ({"order": 3}, "activation must be named by a string, got NoneType"),
        ({"name": "relu", "order": 3}, "activation 'relu' has no option 'order'"),
        ({"name": "poly_relu", "ordr": 3}, "has no option 'ordr'; did you mean 'order'"),
        ({"name": "poly_norm", "order": 0}, "order must be at least 1, got 0"),
        ({"name": "rational", "groups": 3}, "groups must divide the 16 channels, got 3"),
        ({"name": "rational", "start": "selu"}, "unknown start 'selu'"),
    ],
)
def test_errors(given: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        create_activation(given, 16)  # type: ignore[arg-type]


def test_the_gain_is_the_mean_square() -> None:
    f = Rational(8, start="gelu")
    x = torch.randn(200_000, 8, generator=torch.Generator().manual_seed(0))
    close("gain", torch.tensor(f.gain()), f(x).square().mean(), 0.01)


def test_an_identity_start_can_leave_it() -> None:
    f = Rational(8, start="identity")
    f(torch.randn(50, 8)).square().sum().backward()
    assert f.denominator.grad is not None and (f.denominator.grad != 0).all()
