"""Identities of Activator, and its study."""

from __future__ import annotations

import torch
from torch.nn.functional import gelu, layer_norm

from anyformer.channels.glu import GLU
from anyformer.laws.measures import close
from anyformer.models import create_model
from anyformer_papers.identity import identity
from anyformer_papers.study import Study

REST = "channel=mlp causal=false positions=learned(max_length=64)"

study = Study(
    task="listops",
    arms={
        "activator": f"[glu(activation=gelu, branch_norm=layer_norm)]*2 {REST}",
        "attention": f"[attention]*2 {REST}",
    },
    smallest=0.02,
    expect="no worse",
    options={"length": 16},
    steps=500,
    parameters=20_000,
)


@identity("the block = its formula")
def formula() -> None:
    glu = GLU(8, hidden_dim=12, activation="gelu", branch_norm="layer_norm", bias=True).double()
    x = torch.randn(2, 5, 8, dtype=torch.float64)
    weight, bias = torch.randn(12).double(), torch.randn(12).double()
    glu.branch_norm.weight.data, glu.branch_norm.bias.data = weight, bias

    def norm(t: torch.Tensor) -> torch.Tensor:
        return layer_norm(t, (12,), weight, bias)

    u = norm(gelu(x @ glu.gate.weight.mT + glu.gate.bias))
    close("block", glu(x), glu.down(u * norm(x @ glu.up.weight.mT + glu.up.bias)))


@identity(
    "the model as released cannot tell the order of the patches; with positions attention can, and so can it"
)
def bag_of_patches() -> None:
    x = torch.randn(2, 16, 4)
    order = torch.randperm(16)
    for spec, positions, blind in (
        ("activator", "none", True),
        ("activator", "learned(max_length=64)", False),
        ("[attention]*2 causal=false", "learned(max_length=64)", False),
    ):
        model = create_model(spec, num_features=4, num_outputs=10, pool="mean", positions=positions)
        away = float((model(x[:, order]) - model(x)).detach().abs().max())
        assert (away < 1e-5) == blind, f"{spec} {positions}: {away}"


@identity("no token's output depends on another's input before the pooling")
def no_mixing() -> None:
    body = create_model("activator", num_features=4, num_outputs=10, pool="mean").body
    assert body.info.reach == (0, 0)
    x = torch.randn(1, 6, body.dim)
    other = x.clone()
    other[:, 3] += 1
    changed = (body(x) != body(other)).any(-1)[0]
    assert changed.tolist() == [i == 3 for i in range(6)]
