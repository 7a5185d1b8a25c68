"""GroupBERT."""

from __future__ import annotations

import torch
from torch.nn.functional import linear

from anyformer.channels.mlp import MLP
from anyformer.layers.grouped import GroupedLinear
from anyformer.mixers.conv_module import ConvModule
from anyformer.models.build import Backbone
from anyformer.models.spec import load_spec
from anyformer.ops._base import FlopCounter
from anyformer.testing.measures import close
from anyformer_papers.card import Card
from anyformer_papers.study import Study

card = Card(
    slug="groupbert",
    what="An encoder layer of four modules instead of two: attention, a grouped feed-forward network, a "
    "convolution module, and a grouped feed-forward network again; pre-norm.",
    parts=("model groupbert", "mixer conv_module", "channel mlp", "layers.grouped:GroupedLinear"),
    differs="The second matrix of the FFN is block-diagonal with G = 4 blocks and a dense D x D map lets "
    "them meet: 4 D^2 + D^2 + D^2 parameters instead of 8 D^2. The Conformer has the convolution too, "
    "depthwise instead of in groups of 16 channels, and dense half-step FFNs.",
    followed="paper",
    notes="Which matrix is grouped, the output map and the module's order were checked against descriptions "
    "of the paper, as its code is not public in PyTorch. The study is causal: there is no masked-prediction "
    "task here.",
    claim="GroupBERT reaches BERT's masked-prediction loss with less than half of the FLOPs.",
    study=Study(
        task="listops",
        arms={
            "groupbert": "[attention, conv_module(group_size=4)] channel=mlp(groups=4)",
            "bert": "[attention, attention] channel=mlp(groups=4)",
        },
        smallest=0.02,
        options={"length": 16},
        steps=1000,
        parameters=30_000,
    ),
)


@card.exact(
    "a grouped linear map = the dense one with a block-diagonal matrix, at 1/G of parameters and FLOPs"
)
def block_diagonal() -> None:
    layer = GroupedLinear(32, 16, 4).double()
    x = torch.randn(1, 9, 32, dtype=torch.float64)
    close("dense", layer(x), linear(x, layer.dense(), layer.bias))
    with FlopCounter() as counter:
        layer(x)
    assert counter.total == 2 * 9 * 32 * 16 // 4 and layer.weight.numel() == 32 * 16 // 4


@card.exact("the grouped FFN has (4 + 4/G + 1) D^2 weights where BERT's has 8 D^2")
def parameters() -> None:
    D = 32
    grouped, dense = (MLP(D, groups=g, bias=False) for g in (4, 1))
    count = [sum(p.numel() for p in mlp.parameters()) for mlp in (grouped, dense)]
    assert count == [6 * D * D, 8 * D * D]


@card.exact(
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


@card.exact("a layer = four residual modules in order")
def four_modules() -> None:
    body = Backbone(load_spec("groupbert depth=1 dim=16")).double()
    names = [mixer.info.name for mixer in body.stack.mixers]
    assert names == ["attention", "mlp", "conv_module", "mlp"] and not body.info.causal
    x = torch.randn(1, 7, 16, dtype=torch.float64)
    y = x
    for norm, mixer in zip(body.stack.residual.norms, body.stack.mixers, strict=True):
        y = y + mixer(norm(y))
    close("by hand", body.stack(x), body.stack.residual.last(y))
