"""Failures are told apart."""

from __future__ import annotations

import pytest

from anyformer.compare.results.failures import explain


@pytest.mark.parametrize(
    "error, status",
    [
        (MemoryError(), "out_of_memory"),
        (RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"), "out_of_memory"),
        (RuntimeError("shapes do not match"), "failed"),
        (ValueError("no memory of this"), "failed"),
    ],
)
def test_failures_are_told_apart(error, status):
    assert explain(error)[0] == status
