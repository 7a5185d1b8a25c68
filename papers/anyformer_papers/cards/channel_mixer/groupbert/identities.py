"""Identities of GroupBERT, and its study."""

from __future__ import annotations

import torch
from torch.nn.functional import linear

from anyformer.channels.mlp import MLP
from anyformer.laws.measures import close
from anyformer.layers.grouped import GroupedLinear
from anyformer.mixers.convolution.conv_module import ConvModule
from anyformer.models import load_spec
from anyformer.models.build import Backbone
from anyformer.ops import FlopCounter
from anyformer_papers.identity import identity
from anyformer_papers.study import Study

study = Study(
    task="listops",
    arms={
        "groupbert": "[attention, conv_module(group_size=4)] channel=mlp(groups=4)",
        "bert": "[attention, attention] channel=mlp(groups=4)",
    },
    smallest=0.02,
    options={"length": 16},
    steps=1000,
    parameters=30_000,
)


@identity("a grouped linear map = the dense one with a block-diagonal matrix, at 1/G of parameters and FLOPs")
def block_diagonal() -> None:
    layer = GroupedLinear(32, 16, 4).double()
    x = torch.randn(1, 9, 32, dtype=torch.float64)
    close("dense", layer(x), linear(x, layer.dense(), layer.bias))
    with FlopCounter() as counter:
        layer(x)
    assert counter.total == 2 * 9 * 32 * 16 // 4 and layer.weight.numel() == 32 * 16 // 4


@identity("the grouped FFN has (4 + 4/G + 1) D^2 weights where BERT's has 8 D^2")
def parameters() -> None:
    D = 32
    grouped, dense = (MLP(D, groups=g, bias=False) for g in (4, 1))
    count = [sum(p.numel() for p in mlp.parameters()) for mlp in (grouped, dense)]
    assert count == [6 * D * D, 8 * D * D]


@identity(
    "the convolution module, one channel a group and a tap of its own, is a depthwise convolution by hand"
)
def convolution() -> None:
    module = ConvModule(6, kernel=3, group_size=2, causal=False).double()
    x = torch.randn(1, 8, 6, dtype=torch.float64)
    a, b = module.expand(x).chunk(2, -1)
    h = torch.cat([torch.zeros(1, 1, 6).double(), a * b.sigmoid(), torch.zeros(1, 1, 6).double()], 1)[0]
    rows = []
    for t in range(8):
        y = [
            sum(module.weight[o, :, j] @ h[t + j, o // 2 * 2 : o // 2 * 2 + 2] for j in range(3))
            for o in range(6)
        ]
        rows.append(torch.stack(y))  # type: ignore[arg-type]
    normed = module.norm(torch.stack(rows))
    close("by hand", module(x)[0], module.out(normed * normed.sigmoid()))


@identity("a layer = four residual modules in order")
def four_modules() -> None:
    body = Backbone(load_spec("groupbert depth=1 dim=16")).double()
    names = [mixer.info.name for mixer in body.stack.mixers]
    assert names == ["attention", "mlp", "conv_module", "mlp"] and not body.info.causal
    x = torch.randn(1, 7, 16, dtype=torch.float64)
    y = x
    for norm, mixer in zip(body.stack.residual.norms, body.stack.mixers, strict=True):
        y = y + mixer(norm(y))
    close("by hand", body.stack(x), body.stack.residual.last(y))
