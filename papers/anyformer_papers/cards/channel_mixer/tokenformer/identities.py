"""Identities of TokenFormer, and its study."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import gelu

from anyformer.channels.pattention import PattentionChannel
from anyformer.convert import grow_tokens
from anyformer.laws.case import LawBroken
from anyformer.laws.measures import close
from anyformer.layers.pattention import Pattention
from anyformer.models import SequenceModel, create_model
from anyformer.ops.attention import attention
from anyformer_papers.identity import identity
from anyformer_papers.study import Study

study = Study(
    task="listops",
    arms={
        "l2_norm_gelu": "[attention]*2 channel=pattention(score=l2_norm_gelu)",
        "softmax": "[attention]*2 channel=pattention(score=softmax)",
    },
    smallest=0.02,
    options={"length": 16},
    steps=1000,
    parameters=30_000,
)


def small() -> SequenceModel:
    return create_model("tokenformer dim=16", vocab_size=11).double()


@identity("the three scores = their formulas, softmax being plain attention to the tokens, n times")
def scores() -> None:
    x = torch.randn(2, 5, 6, dtype=torch.float64)
    for score in ("l2_norm_gelu", "gelu_l2_norm", "softmax"):
        layer = Pattention(6, 4, 9, score=score).double()
        a = x @ layer.keys.mT
        expected: Tensor
        if score == "l2_norm_gelu":
            expected = gelu(3 * a / a.square().sum(-1, keepdim=True).sqrt()) @ layer.values
        elif score == "gelu_l2_norm":
            expected = 3 * gelu(a) / gelu(a).square().sum(-1, keepdim=True).sqrt() @ layer.values
        else:
            k, v = (t.expand(2, 1, -1, -1) for t in (layer.keys, layer.values))
            expected = 9 * attention(x[:, None], k, v, scale=1.0)[:, 0]
        close(score, layer(x), expected)


@identity("growth, once and twice, keeps every output if tau is kept, and changes them if it follows n")
def growth() -> None:
    model, x = small(), torch.randint(0, 11, (2, 9))
    y = model(x)
    twice = grow_tokens(grow_tokens(model, 2), 2)
    close("grown", twice(x), y, 1e-12)
    assert len(twice.body.stack.mixers[0].q.keys) == 64  # type: ignore[union-attr, arg-type]
    try:
        close("grown with a new tau", grow_tokens(model, 4, keep_scale=False)(x), y, 1e-3)
    except LawBroken:
        return
    raise AssertionError("tau was expected to matter")


@identity(
    "tokens that were added learn: their keys and values get gradients, the values none until keys have moved"
)
def added_tokens_learn() -> None:
    layer = PattentionChannel(8, hidden_dim=6).double().tokens
    layer.keys.data[3:] = 0
    layer(torch.randn(2, 5, 8).double()).square().sum().backward()
    assert layer.keys.grad is not None and layer.values.grad is not None
    assert (layer.keys.grad[3:] != 0).all() and (layer.values.grad[3:] == 0).all()


@identity("the order of parameter tokens does not matter: they are a set")
def a_set() -> None:
    layer = Pattention(8, 8, 12)
    order, x = torch.randperm(12), torch.randn(3, 8)
    other = Pattention(8, 8, 12)
    other.load_state_dict({name: p[order] for name, p in layer.state_dict().items()})
    close("permuted", other(x), layer(x), 1e-5)
