"""Grids in another order."""

from __future__ import annotations

import pytest
import torch

from anyformer.laws import check_mixer
from anyformer.mixers import create_mixer
from anyformer.wrappers.order import Order


@pytest.mark.parametrize("options", [{}, {"axes": "1-0"}, {"axes": "1-0", "reverse": True}])
def test_laws(options: dict[str, object]) -> None:
    assert check_mixer(lambda: Order(16, create_mixer("mamba", 16, state_dim=4), grid=3, **options))


def test_an_order_by_hand() -> None:
    """Seven tokens, three a row: 0 1 2 / 3 4 5 / 6."""
    from anyformer.inputs import Layout

    x = torch.zeros(1, 7, 4)
    inputs = Layout.of(x, None).inputs(None, None, None, None, x.dtype)
    for options, expected in (
        ({"axes": "1-0"}, [0, 3, 6, 1, 4, 2, 5]),
        ({"axes": "1-0", "reverse": True}, [5, 2, 4, 1, 6, 3, 0]),
        ({"reverse": True}, [6, 5, 4, 3, 2, 1, 0]),
    ):
        block = Order(4, create_mixer("mamba", 4), grid=3, **options)
        assert block.permutation(inputs)[0].tolist() == expected


def test_refused() -> None:
    inner = create_mixer("mamba", 4)
    with pytest.raises(
        ValueError, match="axes must be the numbers 0 to 1 in some order, joined by '-', got '1-1'"
    ):
        Order(4, inner, grid=3, axes="1-1")
    with pytest.raises(ValueError, match="grid must be the sizes of all axes but the first"):
        Order(4, inner, grid=0)
