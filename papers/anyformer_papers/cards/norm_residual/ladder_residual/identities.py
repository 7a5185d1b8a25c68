"""Identities of Ladder Residual, and its study."""

from __future__ import annotations

import torch
from torch import Tensor

from anyformer.channels.mlp import MLP
from anyformer.laws.measures import close
from anyformer.models import load_spec
from anyformer.models.build import Backbone
from anyformer.stack.ladder import Ladder
from anyformer_papers.identity import identity
from anyformer_papers.study import Study

study = Study(
    task="listops",
    arms={
        "ladder": "[attention]*3 residual=ladder",
        "pre": "[attention]*3 residual=pre",
    },
    smallest=0.02,
    expect="no worse",
    options={"length": 16},
    steps=1000,
    parameters=30_000,
)


@identity("the stack = the recurrence unrolled by hand, the first two sublayers reading the input")
def unrolled() -> None:
    body = Backbone(load_spec("[attention]*2 residual=ladder dim=16")).double()
    x = torch.randn(2, 9, 16, dtype=torch.float64)
    norms, f = body.stack.residual.norms, body.stack.mixers
    x1 = x + f[0](norms[0](x))
    x2 = x1 + f[1](norms[1](x))
    x3 = x2 + f[2](norms[2](x1))
    x4 = x3 + f[3](norms[3](x2))
    close("by hand", body(x), body.stack.residual.last(x4))


@identity("what a sublayer reads does not depend on what the one before wrote, but on the one before that")
def independent() -> None:
    residual = Ladder(4, [1] * 5, "none")
    written = [torch.randn(1, 1, 4, requires_grad=True) for _ in range(5)]
    carry = residual.start(torch.randn(1, 1, 4))
    for i, y in enumerate(written):
        h, carry = residual.read(carry, i)
        seen = [h.requires_grad and _depends(h, other) for other in written]
        assert seen == [j < i - 1 for j in range(5)], f"sublayer {i} reads {seen}"
        carry = residual.write(carry, i, y)


def _depends(h: Tensor, y: Tensor) -> bool:
    (gradient,) = torch.autograd.grad(h.sum(), y, allow_unused=True, retain_graph=True)
    return gradient is not None


@identity(
    "each half of the hidden units on a device of its own, their sums added a step late = the whole network"
)
def tensor_parallel() -> None:
    whole = [MLP(8, hidden_dim=12, bias=False).double() for _ in range(3)]
    x = torch.randn(1, 5, 8, dtype=torch.float64)
    residual = Ladder(8, [1] * 3, "none").double()
    carry = residual.start(x)
    for i, mlp in enumerate(whole):
        h, carry = residual.read(carry, i)
        carry = residual.write(carry, i, mlp(h))
    stream, under_way = x, torch.zeros_like(x)  # the all-reduce that has been started and not been waited for
    for mlp in whole:
        parts = []
        for half in (slice(0, 6), slice(6, 12)):  # two devices
            hidden = mlp.activation(stream @ mlp.up.weight[half].mT)
            parts.append(hidden @ mlp.down.weight[:, half].mT)
        stream = stream + under_way
        under_way = parts[0] + parts[1]
    close("two devices", stream + under_way, residual.end(carry))
