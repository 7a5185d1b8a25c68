"""The machine's limits, and the one that binds."""

from __future__ import annotations

import pytest

from anyformer.bench.machine import Ceilings, measure_ceilings


def test_the_limit_is_the_largest() -> None:
    ceilings = Ceilings(matmul=100.0, matmul_bfloat16=1.0, memory=10.0, exponentials=1.0)
    assert ceilings.seconds(flops=100, bytes_=20, exponentials=1) == (2.0, "memory")
    assert ceilings.seconds(exponentials=7) == (7.0, "exponentials")


@pytest.mark.slow
def test_the_machine_is_measured() -> None:
    found = measure_ceilings()
    assert found.matmul > found.memory > 1e8 and found.exponentials > 1e7
