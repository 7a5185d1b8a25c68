"""A block-diagonal map is the dense map of its matrix."""

from __future__ import annotations

import torch

from anyformer.laws.measures import close
from anyformer.layers.grouped import GroupedLinear


def test_grouped_linear() -> None:
    layer = GroupedLinear(8, 12, 4).double()
    x = torch.randn(3, 8, dtype=torch.float64)
    close("dense", layer(x), torch.nn.functional.linear(x, layer.dense(), layer.bias))
    assert layer.weight.numel() * 4 == 8 * 12
