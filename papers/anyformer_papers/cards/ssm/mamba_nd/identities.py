"""Identities of Mamba-ND, and its study."""

from __future__ import annotations

from itertools import permutations

import torch

from anyformer.laws.checks import inputs_of
from anyformer.laws.measures import close
from anyformer.mixers.state_space.mamba import Mamba
from anyformer.wrappers.order import Order
from anyformer_papers.identity import identity
from anyformer_papers.study import Study

study = Study(
    task="digits",
    arms={
        "rows and columns": "[order([mamba(causal=true)], grid=6, axes=0-1), "
        "order([mamba(causal=true)], grid=6, axes=1-0)] channel=none causal=false positions=none",
        "rows only": "[order([mamba(causal=true)], grid=6, axes=0-1), "
        "order([mamba(causal=true)], grid=6, axes=0-1)] channel=none causal=false positions=none",
    },
    options={"canvas": 12},
    smallest=0.02,
    steps=600,
    parameters=20_400,
)

ORDERS = [("0-1", False), ("0-1", True), ("1-0", False), ("1-0", True)]


@identity("each order is a permutation with an exact inverse, on films and ragged grids too")
def round_trip() -> None:
    x = torch.randn(2, 23, 8)
    mask = torch.arange(23) < torch.tensor([[23], [14]])
    films = [("-".join(map(str, axes)), back) for axes in permutations(range(3)) for back in (False, True)]
    for grid, orders in ((4, ORDERS), ("2x3", films)):
        for axes, reverse in orders:
            block = Order(8, Mamba(8), grid=grid, axes=axes, reverse=reverse)
            order = block.permutation(inputs_of(x, mask))
            close("all tokens", order.sort(1)[0], torch.arange(23).expand(2, -1), 0)
            close("back", order.gather(1, order.argsort(1)), torch.arange(23).expand(2, -1), 0)
            assert set(order[1, :14].tolist()) == set(range(14))


@identity("a layer in an order = permute, the plain 1-D Mamba, permute back")
def is_a_permutation() -> None:
    x = torch.randn(2, 24, 8, dtype=torch.float64)
    image = x.view(2, 6, 4, 8)
    mamba = Mamba(8).double()
    for axes, reverse in ORDERS:
        flat = image if axes == "0-1" else image.transpose(1, 2)
        shape, flat = flat.shape, flat.flatten(1, 2)
        y = (mamba(flat.flip(1)).flip(1) if reverse else mamba(flat)).view(shape)
        y = y if axes == "0-1" else y.transpose(1, 2)
        close(f"{axes} {reverse}", Order(8, mamba, grid=4, axes=axes, reverse=reverse)(x), y.flatten(1, 2))


@identity("raster order is the mixer itself, which then streams")
def raster() -> None:
    mamba, x = Mamba(8).double(), torch.randn(2, 10, 8, dtype=torch.float64)
    block = Order(8, mamba, grid=4)
    close("raster", block(x), mamba(x), 0)
    assert block.info.causal and not Order(8, mamba, grid=4, reverse=True).info.causal
