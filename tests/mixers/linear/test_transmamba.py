from __future__ import annotations

import pytest
import torch

from anyformer.mixers import create_mixer


def test_samples_pass_the_point_at_different_times() -> None:
    mixer = create_mixer("transmamba", 8, trans_point=4, num_heads=2).double()
    x = torch.randn(2, 9, 8, dtype=torch.float64)
    mask = torch.tensor([[True] * 6, [True] * 2 + [False] * 4])
    _, state = mixer.stream(x[:, :6], mixer.init_state(2), mask=mask)
    rest = torch.stack((x[0, 6:], x[1, 2:5]))
    y, _ = mixer.stream(rest, state)
    torch.testing.assert_close(y[0], mixer(x)[0, 6:])
    torch.testing.assert_close(y[1], mixer(x)[1, 2:5])


def test_the_point_may_be_moved() -> None:
    mixer = create_mixer("transmamba", 8, trans_point=4, num_heads=2)
    x = torch.randn(1, 12, 8)
    before = mixer(x)
    mixer.trans_point = 8
    assert not torch.allclose(mixer(x)[:, 4:8], before[:, 4:8])
    torch.testing.assert_close(mixer(x)[:, 8:], before[:, 8:])


def test_errors() -> None:
    with pytest.raises(ValueError, match="trans_point must not be negative, got -1"):
        create_mixer("transmamba", 8, trans_point=-1)
    with pytest.raises(ValueError, match="causal=False is not possible for transmamba"):
        create_mixer("transmamba", 8, causal=False)
