"""Identities of Macaron Net, and its study."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from anyformer.contract import Inputs, Mixer, MixerInfo
from anyformer.laws.measures import close
from anyformer.models import load_spec
from anyformer.models.build import Backbone
from anyformer.stack import Stack
from anyformer_papers.identity import identity, peer
from anyformer_papers.study import Study

study = Study(
    task="listops",
    arms={
        "macaron": "[attention]*2 channel=mlp(factor=2) pattern=channel/2+mixer+channel/2",
        "transformer": "[attention]*2 channel=mlp(factor=2) pattern=mixer+channel",
    },
    smallest=0.02,
    options={"length": 16},
    steps=1000,
    parameters=30_000,
)


class OdeFlow(Mixer):
    """The exact flow of dx/dt = A x over a time, less the input: a sublayer that moves the stream along A."""

    class Options(Mixer.Options):
        def info(self) -> MixerInfo:
            return MixerInfo(reach=(0, 0))

    def __init__(self, generator: Tensor, time: float) -> None:
        super().__init__(len(generator))
        self.matrix = torch.linalg.matrix_exp(generator * time) - torch.eye(len(generator)).double()

    def _forward(self, x: Tensor, inputs: Inputs) -> Tensor:
        return x @ self.matrix.mT


@identity(
    "with exact sub-flows the Transformer's order has an error of the first order, Macaron's of the second"
)
def orders() -> None:
    a, b, x = torch.randn(4, 4).double(), torch.randn(4, 4).double(), torch.randn(1, 1, 4).double()
    exact = x @ torch.linalg.matrix_exp(a + b).mT

    def error(steps: int, macaron: bool) -> float:
        h = 1 / steps
        layer = (
            [OdeFlow(b, h / 2), OdeFlow(a, h), OdeFlow(b, h / 2)]
            if macaron
            else [OdeFlow(a, h), OdeFlow(b, h)]
        )
        return float((Stack(4, [layer] * steps, norm="none")(x) - exact).abs().max())

    for macaron, order in ((False, 1), (True, 2)):
        found = math.log2(error(64, macaron) / error(128, macaron))
        assert abs(found - order) < 0.1, f"order {found} instead of {order}"


@identity("a Macaron stack = that of x-transformers under the same weights")
def equals_x_transformers() -> None:
    theirs = peer("x_transformers").Decoder(
        dim=16, depth=2, heads=4, attn_dim_head=4, macaron=True, ff_mult=2, use_rmsnorm=False
    )
    spec = load_spec(
        "[attention]*2 dim=16 norm=layer_norm positions=none channel=mlp(factor=2) "
        "pattern=channel/2+mixer+channel/2"
    )
    ours = Backbone(spec)
    stack, norms, feeds, attentions = ours.stack, [], [], []
    for module in theirs.modules():
        kind = type(module).__name__
        feeds += [module] if kind == "FeedForward" else []
        attentions += [module] if kind == "Attention" else []
        norms += [module.gamma] if kind == "LayerNorm" and hasattr(module, "gamma") else []
    assert len(norms) == 7 and len(feeds) == 4 and len(attentions) == 2
    order = [feeds[0], attentions[0], feeds[1], feeds[2], attentions[1], feeds[3]]
    with torch.no_grad():
        for mixer, other in zip(stack.mixers, order, strict=True):
            found = [p for p in other.parameters()]
            mine = list(mixer.parameters())
            assert [p.shape for p in mine] == [p.shape for p in found]
            for p, q in zip(mine, found, strict=True):
                p.copy_(q)
    x = torch.randn(2, 12, 16)
    close("x-transformers", ours(x), theirs(x), 1e-5)
