"""Layouts of the tensors that kernels read and write."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from anyformer.ops._memory import copy, dense, empty_by_time, empty_dense, empty_rows, rows

VIEWS: dict[str, Callable[[Tensor], Tensor]] = {
    "contiguous": lambda x: x,
    "transposed": lambda x: x.mT,
    "expanded": lambda x: x[:1].expand(3, -1, -1),
    "stepped": lambda x: x[..., ::2],
    "lazily negated": lambda x: torch.complex(x, x).conj().imag,
}


@pytest.mark.parametrize("view", VIEWS)
def test_kernels_read_the_values_by_address(view: str) -> None:
    """The memory at the address, with the strides, holds the values: also where PyTorch negates lazily."""
    x = VIEWS[view](torch.randn(2, 4, 6))
    for found in (dense(x), rows(x), copy(x)):
        assert not found.is_neg()
        assert found.stride()[-1] == 1
        torch.testing.assert_close(found, x)
    assert dense(x).is_contiguous()
    assert copy(x).data_ptr() != x.data_ptr()
    assert dense(None) is None
    assert rows(None) is None


def test_nothing_is_copied_that_can_be_read() -> None:
    x = torch.randn(2, 3, 4, 5)
    assert dense(x) is x
    assert rows(x.transpose(1, 2)).data_ptr() == x.data_ptr()
    wide = x[:, :, :1].expand(2, 3, 4, 5)
    assert rows(wide) is wide


def test_outputs_lie_as_asked() -> None:
    x = torch.randn(2, 3, 4, 5)
    assert empty_dense(x.mT).is_contiguous()
    like_heads = empty_rows(x.transpose(1, 2))
    assert like_heads.stride() == x.transpose(1, 2).stride()
    assert empty_rows(x.mT).stride()[-1] == 1
    y = empty_by_time(x, 2, 3, 4, 6, zeros=True)
    assert y.shape == (2, 3, 4, 6)
    assert y.transpose(1, 2).is_contiguous()
    assert float(y.abs().sum()) == 0.0
