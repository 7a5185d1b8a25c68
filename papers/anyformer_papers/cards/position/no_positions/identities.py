"""Identities of Deep Transformer language models without positions, and its study."""

from __future__ import annotations

import torch

from anyformer.laws.checks import permutes
from anyformer.laws.measures import close
from anyformer.models import create_model
from anyformer_papers.identity import identity
from anyformer_papers.study import Study

study = Study(
    task="bytes",
    arms={
        "none": "[attention]*4 positions=none",
        "sinusoidal": "[attention]*4 positions=sinusoidal",
    },
    options={"length": 64},
    smallest=0.05,
    steps=1500,
    expect="no worse",
    parameters=100_000,
)


def last_output(depth: int, x: torch.Tensor) -> torch.Tensor:
    torch.manual_seed(1)
    model = create_model(f"[attention]*{depth} dim=16 positions=none", vocab_size=10).double()
    y: torch.Tensor = model(x)[:, -1]
    return y


@identity("one causal layer sees its past as a set, two see its order")
def depth() -> None:
    x = torch.randint(10, (4, 15))
    shuffled = torch.cat([x[:, torch.randperm(14)], x[:, -1:]], 1)
    close("one layer", last_output(1, shuffled), last_output(1, x), 1e-12)
    assert float((last_output(2, shuffled) - last_output(2, x)).abs().max().detach()) > 1e-3


@identity("without causality the outputs are shuffled as the inputs are, at any depth")
def shuffled() -> None:
    model = create_model("[attention]*3 dim=16 positions=none causal=false", vocab_size=10).double()
    permutes(model, torch.randint(10, (4, 15)))


@identity(
    "a linear probe reads the place off the states of an untrained causal model, but not of a bidirectional one"
)
def probe() -> None:
    fits = {}
    for causal in (True, False):
        torch.manual_seed(2)
        spec = {"layers": "[attention]*2", "dim": 32, "positions": "none", "causal": causal, "channel": "mlp"}
        model = create_model(spec, vocab_size=10)
        x = torch.randint(1, 10, (400, 32))
        x[:, 0] = 0  # sentences begin with a mark, whose share of the attention falls with the place
        with torch.no_grad():
            states = model.body(model._embed(x))[:, 1:].flatten(0, 1).double()
        place = torch.arange(1, 32, dtype=torch.float64).log().repeat(400)
        states = torch.cat([states, torch.ones(len(states), 1)], 1)
        half = len(place) // 2
        probe = torch.linalg.lstsq(states[:half], place[:half, None]).solution
        rest = place[half:] - (states[half:] @ probe)[:, 0]
        fits[causal] = 1 - float(rest.square().mean() / place[half:].var())
    assert fits[True] > 0.2 and fits[False] < 0.02, fits
