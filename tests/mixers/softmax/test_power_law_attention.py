from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn.functional import layer_norm

from anyformer.mixers import create_mixer
from anyformer.mixers.softmax.power_law_attention import PowerLawAttention


def make(causal: bool) -> PowerLawAttention:
    mixer = create_mixer("power_law_attention", 8, num_heads=2, num_units=2, causal=causal).double()
    with torch.no_grad():
        for p in mixer.parameters():
            p.add_(torch.randn_like(p) * 0.2)
    return mixer


def curvature(mixer: PowerLawAttention, q: Tensor, head: int) -> Tensor:
    """G of one head of one sample, from its queries (T, K)."""
    A = q.T @ q
    for unit in mixer.units:
        hidden = (A @ unit.up.weight.T + unit.up.bias).clamp_min(0)
        A = layer_norm(
            A + hidden @ unit.down.weight.T + unit.down.bias, (4,), unit.norm.weight, unit.norm.bias, 1e-6
        )
    metric = (mixer.weight[head] @ A + mixer.weight_bias[head]).clamp_min(0) + mixer.floor
    return mixer.coupling[head] @ metric ** mixer.power[head] + mixer.coupling_bias[head]


@pytest.mark.parametrize("causal", [True, False])
def test_is_the_formula(causal: bool) -> None:
    mixer, x = make(causal), torch.randn(2, 7, 8, dtype=torch.float64)
    q, k, v = (layer(x).unflatten(-1, (2, 4)) for layer in (mixer.q, mixer.k, mixer.v))
    y = torch.zeros(2, 7, 2, 4, dtype=torch.float64)
    for b in range(2):
        for h in range(2):
            for i in range(7):
                seen = i + 1 if causal else 7
                scores = q[b, i, h] @ curvature(mixer, q[b, :seen, h], h) @ k[b, :seen, h].T / 2
                p = torch.where(scores > 0, scores, 0.2 * scores).softmax(-1)
                y[b, i, h] = p @ v[b, :seen, h]
    torch.testing.assert_close(mixer(x), mixer.out(y.flatten(2)), rtol=1e-9, atol=1e-9)


def test_what_is_deduced_is_of_the_real_tokens() -> None:
    mixer, x = make(False), torch.randn(2, 7, 8, dtype=torch.float64)
    mask = torch.arange(7) < torch.tensor([[7], [4]])
    found, alone = mixer.deduce(x, mask), mixer.deduce(x[1:, :4])
    for a, b in zip(found, alone):
        assert a.shape == (2, 2, 4, 4) and a.isfinite().all()
        torch.testing.assert_close(a[1:], b)
    assert (found.metric >= mixer.floor).all() and (found.potential > 0).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_units": -1}, "num_units must be at least 0 and hidden_dim 1, got -1 and None"),
        ({"floor": 0.0}, "floor must be between 0 and 1, got 0.0"),
        ({"num_heads": 3}, "num_heads must divide dim=8"),
    ],
)
def test_errors(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        create_mixer("power_law_attention", 8, **options)
