"""Dtypes of accumulators, and values for sums that are subtracted later."""

from __future__ import annotations

import pytest
import torch

from anyformer.precision import FORGETS, common, exact, log_decays, no_autocast, roomy, wide, widen

HALF, BRAIN, SINGLE, DOUBLE = torch.float16, torch.bfloat16, torch.float32, torch.float64


@pytest.mark.parametrize(
    ("dtype", "wider", "with_double"),
    [(HALF, SINGLE, DOUBLE), (BRAIN, SINGLE, DOUBLE), (SINGLE, SINGLE, DOUBLE), (DOUBLE, DOUBLE, DOUBLE)],
)
def test_at_least_float32(dtype: torch.dtype, wider: torch.dtype, with_double: torch.dtype) -> None:
    x = torch.ones(2, dtype=dtype)
    assert wide(dtype) == widen(x).dtype == common(x) == common(x, x) == wider
    assert common(x, torch.ones(1, dtype=DOUBLE)) == with_double
    assert common(x, torch.ones(1, dtype=HALF)) in (SINGLE, DOUBLE)


def test_float16_gets_room_unless_autocast_narrows_it() -> None:
    x = torch.tensor([300.0], dtype=HALF)
    assert roomy(x).dtype == SINGLE and (roomy(x) * roomy(x)).isfinite().all()
    assert roomy(x.bfloat16()).dtype == BRAIN and roomy(x.double()).dtype == DOUBLE
    with torch.autocast("cpu", dtype=BRAIN):
        assert roomy(x).dtype == HALF
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == BRAIN
        with no_autocast(x):
            assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == SINGLE


def test_differences_of_sums_of_log_decays_are_finite() -> None:
    sums = log_decays(torch.tensor([-1.0, -torch.inf, -2.0])).cumsum(0)
    assert sums.dtype == exact(torch.ones(1)).dtype == DOUBLE
    assert (sums[2] - sums[1]).item() == -2 and (sums[1] - sums[0]).item() == FORGETS
    assert (sums[1] - sums[0]).float().exp().item() == 0
