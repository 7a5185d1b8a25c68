"""The work that is timed of each op."""

from __future__ import annotations

import pytest
import torch

from anyformer.bench import ops


@pytest.mark.parametrize("name", ops.MAKERS)
def test_work_can_run(name: str) -> None:
    """At a hundredth of the length that is timed."""
    work = ops.MAKERS[name](torch.Generator().manual_seed(0), 128)  # type: ignore[call-arg]
    assert work.op in ops.load_all()
    result = ops.load_all()[work.op].fast(*work.args, **work.options)
    assert (result if isinstance(result, torch.Tensor) else result[0]).isfinite().all()
