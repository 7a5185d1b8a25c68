from __future__ import annotations

import pytest
import torch

from anyformer.inputs import Inputs, Layout
from anyformer.mixers import create_mixer


def _inputs(x: torch.Tensor) -> Inputs:
    return Layout.of(x, None).inputs(None, None, None, None, x.dtype)


def test_without_shift_both_ways_are_added() -> None:
    """A token alone is then told by both state spaces; with the shift by neither."""
    x = torch.randn(1, 1, 8, dtype=torch.float64)
    added, shifted = (
        create_mixer("hydra", 8, state_dim=3, shift=s, causal=False).double() for s in (False, True)
    )
    diagonal = added.mixing(x).matrix[..., 0, 0]
    ahead, back, _, _ = added._choose(x, _inputs(x))
    both = sum((way.C * way.B).sum(-1) * way.dt for way in (ahead, back))[..., 0]
    torch.testing.assert_close(diagonal, both + added.skip)
    inner = added._choose(x, _inputs(x))[0].x
    assert inner.shape == (1, 4, 1, 4)
    _, _, free, _ = shifted._choose(x, _inputs(x))
    torch.testing.assert_close(shifted.mixing(x).matrix[..., 0, 0], free[..., 0, 0])


def test_the_convolution_is_centred() -> None:
    mixer = create_mixer("hydra", 8, state_dim=3, conv_width=3, causal=False).double()
    x = torch.zeros(1, 9, sum(mixer.widths), dtype=torch.float64)
    x[0, 4] = 1
    moved = mixer._convolved(x, _inputs(x)) - mixer._convolved(0 * x, _inputs(x))
    assert moved.abs().sum(-1)[0].nonzero()[:, 0].tolist() == [3, 4, 5]


@pytest.mark.parametrize("matrix", ["cauchy", "vandermonde"])
def test_matrix_by_hand(matrix: str) -> None:
    mixer = create_mixer("matrix_mixer", 6, matrix=matrix, num_heads=2, causal=False).double()
    x = torch.randn(1, 5, 6, dtype=torch.float64)
    q, k = (layer(x)[0].view(5, 2, 3) for layer in (mixer.q, mixer.k))
    found = mixer._weights(x, _inputs(x))[0]
    for t in range(5):
        for s in range(5):
            if matrix == "cauchy":
                expected = 1 / (q[t].exp() + k[s].exp() + 2 * mixer.offset) / (5 * 3) ** 0.5
            else:
                wave = 2 * torch.pi * 1e-3
                expected = ((wave * q[t] * s).cos() - (wave * k[s] * t).cos()) / (2 * 5 * 3) ** 0.5
            torch.testing.assert_close(found[:, t, s], expected.sum(-1))


def test_errors() -> None:
    with pytest.raises(ValueError, match="causal=True is not possible for hydra"):
        create_mixer("hydra", 8)
    with pytest.raises(ValueError, match="conv_width must be odd, got 4"):
        create_mixer("hydra", 8, conv_width=4, causal=False)
    with pytest.raises(ValueError, match="unknown matrix 'caucy'; did you mean 'cauchy'"):
        create_mixer("matrix_mixer", 8, matrix="caucy", causal=False)
