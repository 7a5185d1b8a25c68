from __future__ import annotations

import pytest
import torch

from anyformer.mixers import create_mixer
from anyformer.state import state_bytes


def test_is_attention_of_the_learned_query_over_each_prefix() -> None:
    mixer = create_mixer("aaren", 12, num_heads=3).double()
    x = torch.randn(2, 9, 12, dtype=torch.float64)
    k, v = (t.reshape(2, 9, 3, 4) for t in mixer.kv(x).chunk(2, -1))
    rows = []
    for t in range(9):
        weights = ((k[:, : t + 1] * mixer.query).sum(-1) / 2).softmax(1)
        rows.append((weights[..., None] * v[:, : t + 1]).sum(1).flatten(1))
    torch.testing.assert_close(mixer(x), mixer.out(torch.stack(rows, 1)))


def test_state_does_not_grow_and_survives_large_scores() -> None:
    mixer = create_mixer("aaren", 8)
    torch.nn.init.constant_(mixer.query, 500.0)  # scores far past the range of exp
    state = mixer.init_state(2)
    size = state_bytes(state)
    whole = torch.randn(2, 50, 8)
    parts = []
    for x in whole.split(7, 1):
        y, state = mixer.stream(x, state)
        parts.append(y)
    assert state_bytes(state) == size and torch.cat(parts, 1).isfinite().all()
    torch.testing.assert_close(torch.cat(parts, 1), mixer(whole))


def test_causal_only() -> None:
    with pytest.raises(ValueError, match="causal=False is not possible for aaren"):
        create_mixer("aaren", 8, causal=False)
