"""Identities of DiNAT, and its study."""

from __future__ import annotations

import torch
from torch import Tensor

from anyformer.laws.checks import from_heads, heads_of
from anyformer.laws.measures import close
from anyformer.layers.grid import fold, neighbors, unfold
from anyformer.mixers.sparse.neighborhood_attention import NeighborhoodAttention
from anyformer.ops.attention import attention
from anyformer_papers.identity import identity
from anyformer_papers.study import Study

study = Study(
    task="digits",
    arms={
        "by turns": "[neighborhood_attention(window=3, grid=8), "
        "neighborhood_attention(window=3, grid=8, dilation=2)] causal=false positions=none",
        "near only": "[neighborhood_attention(window=3, grid=8), "
        "neighborhood_attention(window=3, grid=8, dilation=1)] causal=false positions=none",
    },
    options={"canvas": 16},
    smallest=0.01,
    steps=800,
    parameters=30_000,
)


@identity("a window over everything is full attention with relative biases")
def whole() -> None:
    mixer = NeighborhoodAttention(16, window=5, grid=4, num_heads=2).double()
    x = torch.randn(2, 20, 16, dtype=torch.float64)
    q, k, v = heads_of(mixer, x)
    row, column = torch.arange(20) // 4, torch.arange(20) % 4
    bias = mixer.bias[:, row - row[:, None] + 4, column - column[:, None] + 4]
    close("y", mixer(x), from_heads(mixer, attention(q, k, v, bias=bias)))


@identity("dilated, it is the undilated one on each of the interleaved grids")
def interleaved() -> None:
    dilated = NeighborhoodAttention(16, window=3, dilation=2, grid=8).double()
    plain = NeighborhoodAttention(16, window=3, grid=4).double()
    plain.load_state_dict(dilated.state_dict())
    x = torch.randn(2, 48, 16, dtype=torch.float64)
    y, image = fold(dilated(x), (8,)), fold(x, (8,))
    for a in (0, 1):
        for b in (0, 1):
            part = image[:, a::2, b::2]
            expected = fold(plain(unfold(part, 12, (4,))), (4,))
            close(f"grid {a}, {b}", y[:, a::2, b::2], expected)


def natten_start(i: int, n: int, k: int, d: int) -> int:
    """Return the first key of the window of query i, by the case distinctions of the authors' kernels."""
    half = k // 2
    if i - half * d < 0:
        return i % d
    if i + half * d >= n:
        whole = n // d * d
        return n - (n - whole) + i % d - 2 * half * d if i % d < n - whole else whole + i % d - k * d
    return i - half * d


@identity(
    "always k neighbours on an axis, which begin where the authors' kernels say, dilated and at borders"
)
def borders() -> None:
    for n, k, d in ((7, 3, 1), (7, 7, 1), (17, 3, 4), (23, 5, 3), (16, 3, 5)):
        found: Tensor = neighbors(torch.arange(n), torch.tensor([n]), (), k, d)[0][0]
        expected = [[natten_start(i, n, k, d) + d * j for j in range(k)] for i in range(n)]
        assert found.tolist() == expected, (n, k, d)
