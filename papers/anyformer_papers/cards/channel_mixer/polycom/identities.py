"""Identities of PolyCom, and its study."""

from __future__ import annotations

import torch
from torch.nn.functional import relu

from anyformer.channels.mlp import MLP
from anyformer.laws.measures import close
from anyformer.layers.activations.poly_norm import PolyNorm
from anyformer.layers.activations.poly_relu import PolyReLU
from anyformer_papers.identity import identity
from anyformer_papers.study import Study

study = Study(
    task="bytes",
    arms={
        "poly_norm": "[attention]*2 channel=mlp(activation=poly_norm)",
        "gelu": "[attention]*2 channel=mlp(activation=gelu)",
        "relu": "[attention]*2 channel=mlp(activation=relu)",
    },
    smallest=0.02,
    options={"length": 64},
    steps=1500,
    parameters=100_000,
)


@identity("PolyReLU holds ReLU and squared ReLU, polynomials of degree 3 and their products with a step")
def holds_relu() -> None:
    x = torch.randn(5, 7, dtype=torch.float64)
    activation = PolyReLU(7).double()
    for power, coefficients in enumerate(([0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]), start=1):
        activation.coefficients.data = torch.tensor(coefficients, dtype=torch.float64)
        close(f"relu^{power}", activation(x), relu(x) ** power)
    a = torch.randn(4, dtype=torch.float64)
    activation.coefficients.data = a
    both = activation(x) + PolyReLU.forward(activation, -x) * torch.tensor([1.0], dtype=torch.float64)
    close("even part", both, 2 * a[0] + a[1] * x.abs() + a[2] * x**2 + a[3] * x.abs() ** 3)


@identity(
    "PolyNorm = its formula, and does not change with the scale of x (but for eps and odd powers' sign)"
)
def scale_invariant() -> None:
    x = torch.randn(5, 64, dtype=torch.float64)
    activation = PolyNorm(64, eps=0.0).double()
    activation.coefficients.data = torch.randn(4, dtype=torch.float64)
    a = activation.coefficients.detach()
    powers = [x**i / (x**i).square().mean(-1, keepdim=True).sqrt() for i in (1, 2, 3)]
    close("formula", activation(x), a[0] + a[1] * powers[0] + a[2] * powers[1] + a[3] * powers[2])
    close("scaled", activation(1000 * x), activation(x))
    big = torch.tensor([[-300.0, 200.0, 100.0, 50.0]])
    assert (big.half() ** 3).isinf().any()
    half = PolyNorm(4).half()(big.half())
    close("in half precision", half.float(), PolyNorm(4)(big), 1e-3)


@identity("relu(x)^2 makes products: a PolyReLU network of 4 units is x y exactly, which no ReLU network is")
def product() -> None:
    # x y = ((x + y)^2 - (x - y)^2) / 4, and t^2 = relu(t)^2 + relu(-t)^2
    mlp = MLP(2, hidden_dim=4, activation={"name": "poly_relu", "order": 2}, bias=False).double()
    assert isinstance(mlp.activation, PolyReLU)
    mlp.activation.coefficients.data = torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64)
    mlp.up.weight.data = torch.tensor([[1, 1], [-1, -1], [1, -1], [-1, 1]], dtype=torch.float64)
    mlp.down.weight.data = torch.tensor([[1, 1, -1, -1], [0, 0, 0, 0]], dtype=torch.float64) / 4
    x = torch.randn(3, 10, 2, dtype=torch.float64)
    close("x y", mlp(x)[..., 0], x[..., 0] * x[..., 1])
