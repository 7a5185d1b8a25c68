"""The linear layer under autocast and on wide inputs."""

from __future__ import annotations

import torch

from anyformer.layers.linear import Linear, call_roomy


def test_exact_ignores_autocast() -> None:
    layer, x = Linear(33, 5), torch.randn(4, 33)
    with torch.autocast("cpu", torch.bfloat16):
        assert layer(x).dtype == torch.bfloat16
        y = layer.exact(x.bfloat16())
    assert y.dtype == torch.float32
    torch.testing.assert_close(y, torch.nn.functional.linear(x.bfloat16().float(), layer.weight, layer.bias))


def test_a_wide_input_does_not_overflow_in_float16() -> None:
    layer = Linear(4, 2, bias=False).half()
    with torch.no_grad():
        layer.weight.fill_(0.001)
    x = torch.full((1, 4), 1e6)
    y = call_roomy(layer, x, torch.float16)
    assert y.dtype == torch.float32
    torch.testing.assert_close(y, x @ layer.weight.float().T)
    narrow = torch.ones(1, 4, dtype=torch.float16)
    assert call_roomy(layer, narrow, torch.float16).dtype == torch.float16
    assert call_roomy(layer.float(), x.double(), torch.float32).dtype == torch.float32
