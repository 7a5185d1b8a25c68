"""Sinusoids are those of Vaswani 2017, section 3.5."""

from __future__ import annotations

import math

import pytest
import torch

from anyformer.layers.waves import waves


@pytest.mark.parametrize("dim", [6, 5])
def test_it_is_the_formula(dim: int) -> None:
    positions = torch.tensor([0.0, 1.0, 7.5], dtype=torch.float64)
    found = waves(positions, dim, base=100.0)
    assert found.shape == (3, dim)
    for t, channel in ((t, c) for t in range(3) for c in range(dim)):
        angle = float(positions[t]) / 100.0 ** (channel // 2 * 2 / dim)
        expected = math.cos(angle) if channel % 2 else math.sin(angle)
        assert abs(float(found[t, channel]) - expected) < 1e-12
