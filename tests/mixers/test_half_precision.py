"""In float16 nothing overflows on the way to what float32 says fits."""

from __future__ import annotations

import copy

import pytest
import torch

from anyformer.testing import cases_of

NORMED = ["delta_net", "hgrn2", "hydra", "mamba2", "retention", "rwkv7", "transmamba"]


@pytest.mark.parametrize("name", NORMED)
@pytest.mark.parametrize("size", [10, 30, 100, 300])
def test_what_fits_at_the_end_fits_on_the_way(name: str, size: int) -> None:
    for case in cases_of(name):
        half = case.mixer(torch.float16)
        whole = copy.deepcopy(half).float()
        sample = case.sample(half, 2, 40, dtype=torch.float16)
        x = sample.x * size
        with torch.no_grad():
            y, expected = sample.with_x(x).forward(half), sample.with_x(x.float()).forward(whole)
        if float(expected.abs().max()) > 3e4:
            continue
        assert bool(y.isfinite().all()), case.label
        error = float((y.float() - expected).square().mean().sqrt() / expected.square().mean().sqrt())
        assert error < 0.2, case.label
