"""Cosines and sines are shared by layers; positions that changed since must not find the old ones."""

from __future__ import annotations

import torch

from anyformer import create_mixer


def test_positions_that_change_in_place() -> None:
    m, x = create_mixer("attention", 8).double(), torch.randn(1, 6, 8, dtype=torch.float64)
    positions = torch.arange(6.0, dtype=torch.float64)[None].clone()
    with torch.inference_mode():
        m(x, positions=positions)
    before = m(x, positions=positions)
    positions.mul_(3)
    assert not torch.allclose(m(x, positions=positions), before)
    torch.testing.assert_close(m(x, positions=positions.clone()), m(x, positions=positions))
