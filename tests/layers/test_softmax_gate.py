from __future__ import annotations

import torch

from anyformer.layers.softmax_gate import SoftmaxGate


def test_it_weighs_by_shares_of_one() -> None:
    torch.manual_seed(0)
    gate, x = SoftmaxGate(5).double(), torch.randn(3, 2, 5, dtype=torch.float64)
    scores = x @ gate.weight.T + gate.bias
    torch.testing.assert_close(gate(x), x * scores.exp() / scores.exp().sum(-1, keepdim=True))
    assert gate.bfloat16()(x.bfloat16()).dtype == torch.bfloat16
