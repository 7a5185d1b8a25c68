from __future__ import annotations

import pytest
import torch

from anyformer.mixers import create_mixer


@pytest.mark.parametrize("causal", [True, False])
def test_is_the_double_loop(causal: bool) -> None:
    mixer = create_mixer("neural_processor", 6, context_len=9, factor=4, share=0.5, causal=causal).double()
    x = torch.randn(2, 7, 6, dtype=torch.float64)
    z, gate, passed = mixer.up(x).clamp_min(0).square().split([6, 6, 12], -1)
    rows = []
    for i in range(7):
        total = torch.zeros(2, 6, dtype=torch.float64)
        for j in range(i + 1 if causal else 7):
            cosine = torch.cosine_similarity(z[:, i], z[:, j], dim=-1, eps=1e-12)
            total = total + mixer.slots[i, j] * cosine[:, None] * z[:, j]
        rows.append(total * gate[:, i])
    y = mixer.out(torch.cat([torch.stack(rows, 1), passed], -1))
    torch.testing.assert_close(mixer(x), y, rtol=1e-5, atol=1e-5)  # the norms' epsilon is another


def test_errors() -> None:
    with pytest.raises(ValueError, match="context_len must be at least 1, got 0"):
        create_mixer("neural_processor", 6, context_len=0)
    with pytest.raises(
        ValueError, match="share must leave at least one mixed and one bypassing channel of 24, got 0.0"
    ):
        create_mixer("neural_processor", 6, share=0.0)
    with pytest.raises(ValueError, match="at most 9 tokens"):
        create_mixer("neural_processor", 6, context_len=9)(torch.randn(1, 10, 6))
