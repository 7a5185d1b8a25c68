from __future__ import annotations

import pytest
import torch

from anyformer.mixers import create_mixer


def test_the_first_window_has_no_context() -> None:
    mixer = create_mixer("block_state", 8, window=6, num_states=2, num_heads=2).double()
    x = torch.randn(1, 6, 8, dtype=torch.float64)
    before = mixer(x)
    with torch.no_grad():
        mixer.context_v.weight.mul_(7)
    torch.testing.assert_close(mixer(x), before, rtol=0, atol=0)


def test_context_states_are_the_last_outputs_before_the_window() -> None:
    mixer = create_mixer("block_state", 8, window=4, num_states=3, num_heads=2).double()
    assert mixer._there(torch.tensor([0, 2, 4])).tolist() == [[False] * 3, [False, True, True], [True] * 3]
    u = torch.randn(1, 3, 8, dtype=torch.float64)
    torch.testing.assert_close(mixer._states(u), mixer.norm(u) + mixer.ids)


def test_errors() -> None:
    with pytest.raises(ValueError, match="unknown context 'multi_heads'; did you mean 'multi_head'"):
        create_mixer("block_state", 8, context="multi_heads")
    with pytest.raises(ValueError, match="window must be at least 1, got 0"):
        create_mixer("block_state", 8, window=0)
    with pytest.raises(ValueError, match="causal=False is not possible for block_state"):
        create_mixer("block_state", 8, causal=False)
    with pytest.raises(ValueError, match="positions must rotate or be none for block_state, got 'alibi'"):
        create_mixer("block_state", 8, positions="alibi")
