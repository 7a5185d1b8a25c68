"""Identities of Learnable Fourier features, and its study."""

from __future__ import annotations

import torch

from anyformer.laws.measures import close
from anyformer.models import create_model
from anyformer.positions.learnable_fourier import LearnableFourier
from anyformer_papers.identity import identity
from anyformer_papers.study import Study

study = Study(
    task="digits",
    arms={
        "fourier": "[attention]*2 causal=false positions=learnable_fourier(axes=2, grid=6)",
        "learned": "[attention]*2 causal=false positions=learned",
    },
    options={"canvas": 12},
    smallest=0.05,
    steps=1000,
    parameters=30_000,
)


@identity("at first, likeness falls with the distance as a Gaussian does, and does not depend on the place")
def gaussian() -> None:
    for axes in (1, 2):
        scheme = LearnableFourier(16, 1, 16, axes=axes, features=20_000, gamma=10.0).double()
        x, y = (30 * torch.rand(40, axes, dtype=torch.float64) for _ in range(2))
        likeness = (scheme.response(x) * scheme.response(y)).sum(-1)
        expected = 0.5 * (-(x - y).square().sum(-1) / (2 * 10.0**2)).exp()
        close(f"{axes} axes", likeness, expected, 0.03)
        moved = (scheme.response(x + 7.5) * scheme.response(y + 7.5)).sum(-1)
        close("moved", moved, likeness, 1e-12)


@identity("two groups are one encoder on each, side by side")
def groups() -> None:
    scheme = LearnableFourier(16, 1, 16, axes=4, groups=2).double()
    place = torch.randn(2, 5, 4, dtype=torch.float64)
    whole = scheme.embed(torch.zeros(2, 5, 16, dtype=torch.float64), place)
    halves = [scheme.encode(scheme.response(place[..., i : i + 2])) for i in (0, 2)]
    close("groups", whole, torch.cat(halves, -1), 1e-15)


@identity(
    "a model knows of places only what it is told: tokens shuffled with their places give shuffled outputs"
)
def shuffled() -> None:
    spec = {
        "layers": "[attention]*2",
        "dim": 16,
        "causal": False,
        "positions": {"name": "learnable_fourier", "options": {"axes": 2}},
    }
    model = create_model(spec, vocab_size=10).double()
    x, place, order = torch.randint(10, (1, 12)), torch.rand(1, 12, 2) * 9, torch.randperm(12)
    y = model(x, positions=place)
    close("shuffled", model(x[:, order], positions=place[:, order]), y[:, order], 1e-12)
    assert float((model(x[:, order], positions=place) - y[:, order]).abs().max().detach()) > 1e-4
