"""Identities of Kolmogorov-Arnold Transformer, and its study."""

from __future__ import annotations

import torch
from torch.nn.functional import silu

from anyformer.channels.mlp import MLP
from anyformer.laws.checks import reduces_to
from anyformer.laws.measures import close
from anyformer.layers.activations.rational import Rational
from anyformer_papers.identity import identity
from anyformer_papers.study import Study

study = Study(
    task="digits",
    arms={
        "rational": "[attention]*2 channel=mlp(activation=rational(start=silu)) causal=false positions=learned",
        "silu": "[attention]*2 channel=mlp(activation=silu()) causal=false positions=learned",
    },
    smallest=0.02,
    options={"canvas": 12},
    steps=1000,
    parameters=30_000,
)


@identity("values and gradients = those of the formulas")
def gradients() -> None:
    f = Rational(6, groups=3).double()
    f.numerator.data, f.denominator.data = torch.randn(6).double(), torch.randn(3, 4).double()
    x = torch.randn(5, 6, dtype=torch.float64, requires_grad=True)
    y = f(x)
    y.sum().backward()
    above = torch.stack([x**i for i in range(6)])
    b = f.denominator.repeat_interleave(2, 0)
    q = torch.stack([b[:, j] * x ** (j + 1) for j in range(4)]).sum(0)
    p, below, sign = (f.numerator[:, None, None] * above).sum(0), 1 + q.abs(), q.sign()
    close("F", y, p / below)
    assert f.numerator.grad is not None and f.denominator.grad is not None and x.grad is not None
    close("dF/da", f.numerator.grad, (above / below).sum((1, 2)))
    each = torch.stack([-(x ** (j + 1)) * sign * p / below**2 for j in range(4)], -1).sum(0)
    close("dF/db", f.denominator.grad, each.unflatten(0, (3, 2)).sum(1))
    dp = sum(i * f.numerator[i] * x ** (i - 1) for i in range(1, 6))
    dq = sum((j + 1) * b[:, j] * x**j for j in range(4))
    close("dF/dx", x.grad, dp / below - sign * dq * p / below**2)


@identity(
    "started at identity and silu it is an MLP with silu, to 2e-6 of the fit where activations stay in [-3, 3]"
)
def starts_as_an_mlp() -> None:
    kan = MLP(8, activation="rational", input_activation={"name": "rational", "start": "identity"}).double()
    mlp = MLP(8, activation="silu").double()
    weights = {k: v for k, v in kan.state_dict().items() if not k.startswith(("act", "input"))}
    x = torch.rand(4, 50, 8, dtype=torch.float64) * 2 - 1
    assert float(mlp.up(x).detach().abs().max()) < 3
    reduces_to(kan, mlp, x, weights=weights, tolerance=2e-6)
    t = torch.linspace(-3, 3, 101, dtype=torch.float64)[:, None]
    close("silu", Rational(1, groups=1).double()(t), silu(t), 2e-6)


@identity("as many groups as channels, with the same coefficients, are one group")
def groups() -> None:
    one, all_ = Rational(16, groups=1), Rational(16, groups=16)
    x = torch.randn(9, 16)
    close("groups", all_(x), one(x), 1e-6)


@identity(
    "with variance-preserving weights a normal input keeps its variance through 12 maps; by default it dies"
)
def variance() -> None:
    start = {"name": "rational", "start": "silu"}
    stacks = {
        keep: [MLP(256, activation=start, input_activation=start, preserve_variance=keep) for _ in range(6)]
        for keep in (True, False)
    }
    found = {}
    for keep, layers in stacks.items():
        x = torch.randn(16, 64, 256)
        for layer in layers:
            x = layer(x)
        found[keep] = float(x.detach().var())
    assert 0.5 < found[True] < 2 and found[False] < 0.01, found
