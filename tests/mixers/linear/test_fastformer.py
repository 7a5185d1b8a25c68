from __future__ import annotations

import pytest
import torch

from anyformer.mixers import create_mixer


@pytest.mark.parametrize("share", [True, False])
def test_formula_by_formula(share: bool) -> None:
    """Equations 3 to 8 for each head, token by token."""
    mixer = create_mixer("fastformer", 6, num_heads=2, share_value=share).double()
    x = torch.randn(7, 6, dtype=torch.float64)
    q, k = mixer.q(x), mixer.k(x)
    v = q if share else mixer.v(x)
    pooled = []
    for h, head in enumerate((slice(0, 3), slice(3, 6))):
        alpha = (q @ mixer.query_score.weight[h] / 3**0.5).softmax(0)
        pooled.append(sum(alpha[i] * q[i, head] for i in range(7)))
    p = torch.cat(pooled) * k
    pooled = []
    for h, head in enumerate((slice(0, 3), slice(3, 6))):
        beta = (p @ mixer.key_score.weight[h] / 3**0.5).softmax(0)
        pooled.append(sum(beta[i] * p[i, head] for i in range(7)))
    torch.testing.assert_close(mixer(x[None])[0], mixer.transform(torch.cat(pooled) * v) + q)


def test_errors() -> None:
    with pytest.raises(ValueError, match="causal=True is not possible for fastformer"):
        create_mixer("fastformer", 8, causal=True)
