"""Neighbourhood attention: the nearest cells, by hand."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch

from anyformer.mixers import create_mixer
from anyformer.ops.attention import attention


def nearest(i: int, n: int, window: int, dilation: int) -> list[int]:
    """The ``window`` places of i's residue that are nearest to it, or as many as there are."""
    own = [j for j in range(n) if j % dilation == i % dilation]
    return sorted(sorted(own, key=lambda j: (abs(j - i), j))[:window])


@pytest.mark.parametrize(
    "grid, T, window, dilation",
    [(None, 19, 5, 1), (None, 19, 3, 4), (5, 30, 3, 1), (5, 30, 3, 2), (5, 27, 3, 1), ("3x4", 48, 3, 2)],
)
def test_it_is_dense_attention_to_the_nearest_cells(grid: Any, T: int, window: int, dilation: int) -> None:
    mixer = create_mixer("neighborhood_attention", 16, window=window, dilation=dilation, grid=grid).double()
    inner = mixer.sizes
    cells = int(torch.tensor([1, *inner]).prod())
    shape = (-(-T // cells), *inner)
    spots = list(itertools.product(*map(range, shape)))[:T]  # the last slice may not be full
    seen = torch.zeros(T, T, dtype=torch.bool)
    bias = torch.zeros(4, T, T, dtype=torch.float64)
    for i, mine in enumerate(spots):
        choices = [nearest(a, n, window, dilation) for a, n in zip(mine, shape)]
        for j, other in enumerate(spots):
            seen[i, j] = all(b in choice for b, choice in zip(other, choices))
            if seen[i, j]:
                apart = [(b - a) // dilation + window - 1 for a, b in zip(mine, other)]
                bias[:, i, j] = mixer.bias[(slice(None), *apart)]
    x = torch.randn(2, T, 16, dtype=torch.float64)
    q, k, v = (layer(x).unflatten(2, (4, 4)).transpose(1, 2) for layer in (mixer.q, mixer.k, mixer.v))
    y = attention(q, k, v, visible=seen, bias=bias)
    torch.testing.assert_close(mixer(x), mixer.out(y.transpose(1, 2).flatten(2)))


def test_each_sample_has_borders_of_its_own() -> None:
    mixer = create_mixer("neighborhood_attention", 16, window=3, grid=3).double()
    x, mask = torch.randn(2, 15, 16, dtype=torch.float64), torch.ones(2, 15, dtype=torch.bool)
    mask[1, 7:] = False
    torch.testing.assert_close(mixer(x, mask=mask)[1, :7], mixer(x[1:, :7])[0])


@pytest.mark.parametrize(
    "options, message",
    [
        ({"window": 4}, "window must be odd and dilation positive, got 4 and 1"),
        ({"dilation": 0}, "window must be odd and dilation positive, got 7 and 0"),
        ({"grid": "0x2"}, "grid must be the sizes of all axes but the first"),
        ({"causal": True}, "causal=True is not possible for neighborhood_attention"),
    ],
)
def test_errors(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        create_mixer("neighborhood_attention", 16, **options)
