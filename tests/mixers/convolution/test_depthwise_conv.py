"""Convolutions of each channel on grids."""

from __future__ import annotations

import pytest
import torch

from anyformer.mixers import create_mixer, mixer_info


def test_a_grid_by_hand() -> None:
    """Two rows of three cells, all taps 1: each cell becomes the sum of itself and its neighbours."""
    mixer = create_mixer("depthwise_conv", 1, window=3, grid=3)
    with torch.no_grad():
        mixer.weight.fill_(1)
        mixer.bias.fill_(10)
    x = torch.arange(1.0, 7).view(1, 6, 1)  # 1 2 3 / 4 5 6
    assert mixer(x).flatten().tolist() == [22, 31, 26, 22, 31, 26]


@pytest.mark.parametrize("grid, shape", [(None, (12,)), (4, (3, 4)), ("2x3", (2, 2, 3))])
def test_the_loop(grid: int | str | None, shape: tuple[int, ...]) -> None:
    """y_t is the bias and, of each axis, the taps around t times the cells there; nothing lies outside."""
    torch.manual_seed(0)
    mixer = create_mixer("depthwise_conv", 5, window=3, grid=grid).double()
    x = torch.randn(2, 12, 5, dtype=torch.float64)
    cells, expected = x.view(2, *shape, 5), torch.zeros(2, *shape, 5, dtype=torch.float64)
    for place in torch.cartesian_prod(*(torch.arange(n) for n in shape)).view(12, -1).tolist():
        y = mixer.bias.clone()
        for tap in torch.cartesian_prod(*[torch.arange(3)] * len(shape)).view(-1, len(shape)).tolist():
            other = [p + t - 1 for p, t in zip(place, tap)]
            if all(0 <= o < n for o, n in zip(other, shape)):
                y = y + mixer.weight[(slice(None), 0, *tap)] * cells[(slice(None), *other)]
        expected[(slice(None), *place)] = y
    torch.testing.assert_close(mixer(x), expected.view(2, 12, 5))


def test_reach() -> None:
    assert mixer_info("depthwise_conv", window=3).reach == (1, 1)
    assert mixer_info("depthwise_conv", window=5, grid=4).reach == (10, 10)
    assert mixer_info("depthwise_conv", window=3, grid="2x3").reach == (10, 10)  # a frame, a row and a cell


def test_refused() -> None:
    with pytest.raises(ValueError, match="window must be odd and positive, got 4"):
        create_mixer("depthwise_conv", 4, window=4)
    with pytest.raises(ValueError, match="grid must have at most 3 axes, got 4"):
        create_mixer("depthwise_conv", 4, grid="2x2x2")
    with pytest.raises(
        ValueError, match=r"causal=True is not possible for depthwise_conv: its window is centred"
    ):
        create_mixer("depthwise_conv", 4, causal=True)
