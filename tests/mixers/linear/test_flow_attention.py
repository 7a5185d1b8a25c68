from __future__ import annotations

import torch

from anyformer.layers.heads import merge_heads
from anyformer.mixers import create_mixer


def test_sum_by_sum() -> None:
    """The causal form, each prefix by its own loop."""
    mixer = create_mixer("flow_attention", 6, num_heads=2).double()
    x = torch.randn(1, 9, 6, dtype=torch.float64)
    q, k, v = (layer(x).unflatten(-1, (2, 3))[0].transpose(0, 1) for layer in (mixer.q, mixer.k, mixer.v))
    q, k, y = q.sigmoid(), k.sigmoid(), []
    inflow = [q[:, t] * k[:, : t + 1].mean(1) for t in range(9)]
    outflow = [k[:, t] * q[:, : t + 1].mean(1) for t in range(9)]
    inflow, outflow = (torch.stack(f, 1).sum(-1, keepdim=True) for f in (inflow, outflow))
    taken = [(q[:, t] * (k / outflow)[:, : t + 1].mean(1)).sum(-1) for t in range(9)]
    given = [(k[:, t] * (q / inflow)[:, : t + 1].mean(1)).sum(-1).clamp(-1, 1).exp() for t in range(9)]
    given = torch.stack(given, 1)
    compete = given / torch.stack([given[:, : t + 1].mean(1) for t in range(9)], 1)
    for t in range(9):
        S = k[:, : t + 1].mT @ (v * compete[..., None])[:, : t + 1]
        y.append(taken[t].sigmoid()[:, None] * (q[:, t, None] @ S)[:, 0] / (inflow[:, t] * (t + 1)))
    expected = mixer.out(merge_heads(torch.stack(y, 1)[None]))
    torch.testing.assert_close(mixer(x), expected, rtol=1e-4, atol=1e-5)  # the loop leaves out EPS
