"""Hashed look-ups against the formula, row by row."""

from __future__ import annotations

import itertools

import pytest
import torch

from anyformer.layers.hashed import HashedLinear


def test_it_is_the_formula() -> None:
    """p(z) by the sum over all sign vectors; the row of the table by the signs as bits, the first the lowest."""
    layer = HashedLinear(6, 5, bits=3, temperature=0.7).double()
    x = torch.randn(4, 6, dtype=torch.float64)
    signs = torch.tensor(list(itertools.product((-1.0, 1.0), repeat=3)), dtype=torch.float64)
    expected = torch.zeros(4, 5, dtype=torch.float64)
    for n, k in itertools.product(range(4), range(2)):
        z = x[n, 3 * k : 3 * k + 3]
        p = (z.abs().sum() / 0.7).exp() / (signs @ z / 0.7).exp().sum()
        row = sum(2**i for i in range(3) if z[i] >= 0)
        expected[n] += p * layer.tables[k, row]
    torch.testing.assert_close(layer(x), expected)


def test_autocast_does_not_change_rows() -> None:
    """A number that bfloat16 rounds is hashed by its own sign, and the result has the dtype of x."""
    layer = HashedLinear(4, 3, bits=2)
    x = torch.tensor([[1e-6, -1e-6, 1.0, -1.0]])
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(layer(x), layer(x.double()).float())


@pytest.mark.parametrize(
    "options, message",
    [
        ({"bits": 3}, "bits must be 1 to 16 and divide 8 features, got 3"),
        ({"bits": 0}, "bits must be 1 to 16 and divide 8 features, got 0"),
        ({"bits": 4, "temperature": 0.0}, "temperature must be above 0, got 0.0"),
    ],
)
def test_errors(options: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        HashedLinear(8, 8, **options)
