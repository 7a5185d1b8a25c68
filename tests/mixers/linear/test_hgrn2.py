from __future__ import annotations

import pytest
import torch
from torch.nn.functional import silu

from anyformer.mixers import create_mixer


def test_a_step_by_hand() -> None:
    mixer = create_mixer("hgrn2", 4, num_heads=1, lower_bound=0.3).double()
    x = torch.randn(1, 6, 4, dtype=torch.float64)
    S, expected = torch.zeros(4, 4, dtype=torch.float64), []
    for token in x[0]:
        f = 0.3 + 0.7 * mixer.f(token).sigmoid()
        S = f[:, None] * S + torch.outer(1 - f, mixer.i(token))
        expected.append(mixer.out(mixer.norm(silu(mixer.q(token)) @ S)))
    torch.testing.assert_close(mixer(x)[0], torch.stack(expected), rtol=1e-6, atol=1e-7)  # 0.3 in float32


def test_errors() -> None:
    with pytest.raises(ValueError, match="causal=False is not possible for hgrn2"):
        create_mixer("hgrn2", 8, causal=False)
    with pytest.raises(ValueError, match="lower_bound must be at least 0 and below 1, got 1.0"):
        create_mixer("hgrn2", 8, lower_bound=1.0)
