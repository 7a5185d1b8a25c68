"""Identities of FIRE, and its study."""

from __future__ import annotations

import math

import torch

from anyformer.laws.measures import close
from anyformer.positions import Positions
from anyformer.positions.alibi import Alibi
from anyformer.positions.fire import Fire
from anyformer.positions.kerple import Kerple
from anyformer.positions.t5 import T5
from anyformer_papers.identity import identity
from anyformer_papers.study import Study

study = Study(
    task="bytes",
    arms={
        "fire": "[attention]*2 positions=fire(threshold=64)",
        "alibi": "[attention]*2 positions=alibi",
        "rope": "[attention]*2 positions=rope",
    },
    options={"length": 64},
    smallest=0.05,
    steps=400,
    batch_size=16,
    times_longer=4,
)
DIM = (32, 4, 8)  # of the model, heads, of a head
PLACE = torch.arange(60, dtype=torch.float64)[None]
EMPTY = torch.zeros(1, 4, 60, 8, dtype=torch.float64)
PAST = torch.ones(60, 60, dtype=torch.bool).tril()


def causal(scheme: Positions) -> torch.Tensor:
    """(1, 4, 60, 60): the bias, zero for later keys."""
    found = scheme.double().score(EMPTY, EMPTY, PLACE, PLACE)
    assert found is not None
    return found.detach().masked_fill(~PAST, 0)


def linear(weight: torch.Tensor, rate: float) -> torch.Tensor:
    """FIRE's bias with f(x) = weight x and a threshold that is not reached."""
    scheme = Fire(*DIM, linear=True, threshold=1000, rate=rate).double()
    scheme.f.load_state_dict({"weight": weight[:, None], "bias": torch.zeros(4)})
    return causal(scheme)


@identity("the formula, pair by pair, with an argument in [0, 1] at every length")
def formula() -> None:
    scheme = Fire(*DIM, threshold=20).double()
    found = scheme.score(EMPTY, EMPTY, PLACE, PLACE)
    for i in (0, 7, 19, 20, 21, 59):
        for j in range(0, i + 1, 3):
            top = max(20.0, i)
            x = torch.tensor([math.log(0.1 * (i - j) + 1) / math.log(0.1 * top + 1)])
            close(f"b({i}, {j})", found[0, :, i, j], scheme.f(x.double()), 1e-6)
    for length in (10, 1000, 5000):
        place = torch.linspace(0, length - 1, 200, dtype=torch.float64)[None]
        argument = scheme.argument(place, place)[0][torch.ones(200, 200).tril() > 0]
        assert bool(((argument >= 0) & (argument <= 1 + 1e-12)).all())


@identity("with the identity as psi, a linear f and a far threshold it is ALiBi")
def is_alibi() -> None:
    slopes = Alibi(*DIM).double().slopes
    close("ALiBi", linear(-1000 * slopes, rate=0.0), causal(Alibi(*DIM)), 1e-12)


@identity("with the logarithm as psi and a linear f it is Kerple")
def is_kerple() -> None:
    kerple = Kerple(*DIM).double()
    weight = -kerple.r1.detach() * math.log1p(1000)
    close("Kerple", linear(weight, rate=1.0), causal(kerple), 1e-12)


@identity("a perceptron through T5's table gives T5's bias at every whole distance")
def is_t5() -> None:
    t5 = T5(*DIM, num_buckets=16, max_distance=40).double()
    expected = causal(t5)
    values = expected[0, :, 59].flip(1)  # (4, 60), by distance
    scheme = Fire(*DIM, rate=0, threshold=64, hidden=60).double()
    slopes = values.diff(dim=1) * 64
    kinks = torch.cat([slopes[:, :1], slopes.diff(dim=1), 0 * slopes[:, :1]], 1)
    ramps = {"0.weight": torch.ones(60, 1), "0.bias": -torch.arange(60) / 64}  # one from each whole distance
    scheme.f.load_state_dict({**ramps, "2.weight": kinks, "2.bias": values[:, 0]})
    close("T5", causal(scheme), expected, 1e-9)
