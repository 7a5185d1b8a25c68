"""Identities of MemoryFormer, and its study."""

from __future__ import annotations

import itertools

import torch

from anyformer.laws.measures import close
from anyformer.layers.hashed import HashedLinear
from anyformer.models import create_model
from anyformer.ops import FlopCounter
from anyformer_papers.identity import identity
from anyformer_papers.study import Study

study = Study(
    task="listops",
    arms={
        "memory_layer": "[attention]*2 channel=memory_layer(bits=4)",
        "mlp": "[attention]*2 channel=mlp",
    },
    smallest=0.02,
    expect="no worse",
    options={"length": 16},
    steps=500,
    parameters=25674,
)


@identity("the weight of a look-up = the softmax over all sign vectors, written out")
def weight() -> None:
    layer = HashedLinear(4, 3, bits=4, temperature=0.7).double()
    x = torch.randn(50, 4, dtype=torch.float64)
    signs = torch.tensor(list(itertools.product((-1.0, 1.0), repeat=4)), dtype=torch.float64)
    p = (x @ signs.mT / 0.7).softmax(-1)  # (50, 16)
    most, which = p.max(-1)
    row = ((signs[which] > 0) * torch.tensor([1, 2, 4, 8])).sum(-1)
    close("y", layer(x), most[:, None] * layer.tables[0, row])


@identity("gradients of x and the tables are those of finite differences, away from where a sign flips")
def gradients() -> None:
    layer = HashedLinear(6, 3, bits=3).double()
    x = torch.randn(4, 6, dtype=torch.float64)
    x = torch.where(x.abs() < 0.05, 0.05, x).requires_grad_()
    assert torch.autograd.gradcheck(layer, (x,))
    assert torch.autograd.gradcheck(
        lambda t: torch.func.functional_call(layer, {"tables": t}, (x,)), (layer.tables,)
    )


@identity("with a chunk of its own for each number and sure of all signs it is a linear map of signs")
def linear_in_signs() -> None:
    layer = HashedLinear(5, 3, bits=1, temperature=1e-3).double()
    x = torch.randn(20, 5, dtype=torch.float64)
    x = torch.where(x.abs() < 0.1, 0.1, x)
    low, high = layer.tables[:, 0], layer.tables[:, 1]
    close("linear", layer(x), x.sign() @ ((high - low) / 2) + ((high + low) / 2).sum(0))


@identity(
    "attention is all that multiplies: the projections and the feed-forward part have no FLOP of a matrix"
)
def no_products() -> None:
    model = create_model("memoryformer dim=16", vocab_size=7)
    x = torch.randn(1, 32, 16)
    for mixer, none in ((model.body.stack.mixers[1], True), (model.body.stack.mixers[0], False)):
        with FlopCounter() as counter:
            mixer(x)
        assert (counter.total == 0) == none
    with FlopCounter() as counter:
        model.body.stack.mixers[0](x)
    assert counter.total <= 4 * 32 * 32 * 16, "q k^T and p v"
