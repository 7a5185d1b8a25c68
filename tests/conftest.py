"""What every test runs under: one torch thread, fixed seeds, and uninitialised memory that is NaN."""

from __future__ import annotations

import gc
import os
import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

torch.set_num_threads(1)

MEMORY = Path("/dev/shm")
"""A file system in memory, if this system has one."""


def pytest_configure() -> None:
    """Temporary folders are in memory where there is room: comparisons sync thousands of small files to the disk."""
    if os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free > 4 << 30:
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(MEMORY))


def pytest_collection_finish() -> None:
    """What imports and collection have made stays: the garbage collector need not look at it again and again."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="module")
def brief_costs() -> Iterator[None]:
    """The costs of candidates are measured in a moment, by comparisons that are about something else."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("anyformer.compare.plan.schema.Plan.measure_seconds", 0.05)
        yield


@pytest.fixture(autouse=True)
def _seeds() -> None:
    """Every test starts from the same random state, whichever tests ran before it."""
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def _poisoned_memory() -> Iterator[None]:
    """``torch.empty`` returns NaN (integers: the largest value), so that reading it unwritten shows."""
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True)  # fills uninitialised memory, torch.utils.deterministic
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)


@pytest.fixture(autouse=True)
def _default_dtype() -> Iterator[None]:
    """A test that changes the default dtype doesn't leak it."""
    yield
    leaked = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    assert leaked == torch.float32, f"the test left the default dtype at {leaked}"
