"""A learned vector for each coordinate."""

from __future__ import annotations

import pytest
import torch

from anyformer.positions import create_position


def test_coordinates_have_their_vectors() -> None:
    scheme = create_position("axial", dim=8, num_heads=1, head_dim=8, grid="2x3", rows=4)
    x, place = torch.zeros(1, 24, 8), torch.arange(24.0)[None]
    y = scheme.embed(x, place)
    a, b, c = scheme.weights
    torch.testing.assert_close(y[0, 17], a[2] + b[1] + c[2])  # 17 = 2 * 6 + 1 * 3 + 2
    assert scheme.max_length == 24
    with pytest.raises(ValueError, match="positions must be below 24 for axial ones on this grid, got 24"):
        scheme.embed(x[:, :1], torch.tensor([[24.0]]))
    with pytest.raises(ValueError, match="rows must be at least 1 for axial, got 0"):
        create_position("axial", dim=8, num_heads=1, head_dim=8, rows=0)


def test_sinusoids_in_halves() -> None:
    scheme = create_position("sinusoidal", dim=6, num_heads=1, head_dim=6, halves=True)
    y = scheme.embed(torch.zeros(1, 1, 6), torch.tensor([[5.0]]))[0, 0]
    angle = torch.tensor([5.0, 5 / 100, 5 / 10000])
    torch.testing.assert_close(y, torch.cat([angle.sin(), angle.cos()]))
    with pytest.raises(ValueError, match="dim must be even and at least 4 for sinusoidal with halves, got 5"):
        create_position("sinusoidal", dim=5, num_heads=1, head_dim=5, halves=True)
