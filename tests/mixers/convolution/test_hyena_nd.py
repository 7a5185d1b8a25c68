from __future__ import annotations

import pytest
import torch

from anyformer.mixers import create_mixer


def test_a_token_sees_only_what_is_above_and_left_of_it() -> None:
    mixer = create_mixer("hyena_nd", 4, grid=5, max_length=20, hidden_dim=8).double()
    x = torch.randn(1, 20, 4, dtype=torch.float64)
    other = x.clone()
    other[:, 7] += 1  # row 1, column 2
    moved = (mixer(other) - mixer(x)).detach().abs().amax((0, 2)).view(4, 5) > 1e-9
    expected = torch.zeros(4, 5, dtype=torch.bool)
    expected[1:, 2:] = True
    assert torch.equal(moved, expected)


def test_from_all_corners_a_token_is_seen_by_all() -> None:
    mixer = create_mixer("hyena_nd", 4, grid=5, max_length=20, hidden_dim=8, causal=False).double()
    x = torch.randn(1, 20, 4, dtype=torch.float64)
    other = x.clone()
    other[:, 7] += 1
    assert ((mixer(other) - mixer(x)).detach().abs().amax((0, 2)) > 1e-9).all()


def test_errors() -> None:
    with pytest.raises(ValueError, match="unknown kernel 'join'; did you mean 'joint'"):
        create_mixer("hyena_nd", 4, kernel="join")
    with pytest.raises(ValueError, match="at most 8 tokens"):
        create_mixer("hyena_nd", 4, max_length=8)(torch.randn(1, 9, 4))
    with pytest.raises(ValueError, match="order and hidden_dim must be at least 1"):
        create_mixer("hyena_nd", 4, order=0)
