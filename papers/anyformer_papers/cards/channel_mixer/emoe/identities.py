"""Identities of EMoE, and its study."""

from __future__ import annotations

import torch
from torch import Tensor

from anyformer.channels.emoe import EmergentExperts
from anyformer.convert import merge_experts, split_experts
from anyformer.convert.experts import balanced_clusters
from anyformer.laws.measures import close
from anyformer.models import SequenceModel, create_model
from anyformer_papers.identity import identity
from anyformer_papers.study import Study

study = Study(
    task="listops",
    arms={
        "emoe": "[attention]*2 channel=emoe(num_experts=8, top_k=4)",
        "mlp": "[attention]*2 channel=mlp",
    },
    smallest=0.02,
    expect="no worse",
    options={"length": 16},
    steps=500,
    parameters=20_000,
)


def dense() -> SequenceModel:
    return create_model("[attention]*2 channel=mlp(activation=relu) dim=16", vocab_size=11).double()


@identity("with all experts on, the split model is the dense one; merged back it is the same whatever k was")
def whole() -> None:
    model, x = dense(), torch.randint(0, 11, (2, 9))
    close("split", split_experts(model, 8, 8)(x), model(x), 1e-12)
    close("split and merged", merge_experts(split_experts(model, 8, 2))(x), model(x), 1e-12)


@identity("clusters are of equal size, and groups that are there are found")
def clusters() -> None:
    centres = 5 * torch.randn(4, 6)
    truth = torch.arange(4).repeat(8)
    found = balanced_clusters(centres[truth] + 0.1 * torch.randn(32, 6), 4)
    assert found.bincount().tolist() == [8] * 4
    assert all(len(found[truth == c].unique()) == 1 for c in range(4))


@identity("the masked network = the sum of the chosen experts run by themselves")
def sparse() -> None:
    emoe = EmergentExperts(6, hidden_dim=12, num_experts=4, top_k=2).double()
    x = torch.randn(1, 7, 6, dtype=torch.float64)
    assert isinstance(emoe.down, torch.nn.Linear)
    for t in range(7):
        y: Tensor = emoe.down.bias
        means = torch.stack([emoe.up.weight[3 * e : 3 * e + 3].mean(0) for e in range(4)])
        for e in (means @ x[0, t]).topk(2).indices.tolist():
            units = slice(3 * e, 3 * e + 3)
            hidden = emoe.activation(emoe.up.weight[units] @ x[0, t] + emoe.up.bias[units])
            y = y + emoe.down.weight[:, units] @ hidden
        close(f"token {t}", emoe(x)[0, t], y)


@identity("where keys come in groups, clusters keep more of the dense output than groups drawn at random")
def clusters_keep_more() -> None:
    model = create_model("[attention] channel=mlp(activation=relu, bias=false) dim=16", vocab_size=7).double()
    up = model.body.stack.mixers[1].up
    assert isinstance(up, torch.nn.Linear)
    with torch.no_grad():
        kinds = torch.randn(4, 16).double()[torch.arange(64) % 4]
        up.weight.copy_(kinds + 0.2 * torch.randn(64, 16).double())
    x = torch.randn(2, 50, 16, dtype=torch.float64)
    y = model.body.stack.mixers[1](x)
    clustered = split_experts(model, 4, 2).body.stack.mixers[1]
    mixed = EmergentExperts(16, num_experts=4, top_k=2, activation="relu", bias=False).double()
    order = torch.randperm(64)
    mixed.up.weight.data = up.weight[order]
    mixed.down.weight.data = model.body.stack.mixers[1].down.weight[:, order]  # type: ignore[union-attr, index]
    errors = [float((m(x) - y).detach().norm() / y.detach().norm()) for m in (clustered, mixed)]
    assert errors[0] < 0.7 * errors[1], errors
