"""Identities of GAM, and its study."""

from __future__ import annotations

import torch
from torch.nn.functional import conv1d

from anyformer.laws.measures import close
from anyformer.mixers.convolution.gated_associative_memory import GatedAssociativeMemory
from anyformer.models import load_spec
from anyformer.models.build import Backbone
from anyformer.ops.attention import attention
from anyformer_papers.identity import identity
from anyformer_papers.study import Study

study = Study(
    task="bytes",
    arms={
        "gam": "[gated_associative_memory]*4",
        "attention": "[attention]*4",
    },
    smallest=0.02,
    options={"length": 64},
    steps=1500,
    parameters=100_000,
    expect="no worse",
)


@identity("the mixer = its formula, by PyTorch's convolution and attention to the bank")
def formula() -> None:
    mixer = GatedAssociativeMemory(8, num_slots=5, kernel=3).double()
    x = torch.randn(2, 12, 8, dtype=torch.float64)
    weight = mixer.conv.weight[:, None]
    local = conv1d(x.transpose(1, 2), weight, mixer.conv.bias, padding=2, groups=8)[..., :12].transpose(1, 2)
    bank = mixer.memory.expand(2, 1, -1, -1)
    known = attention(x[:, None], bank, bank, scale=1.0)[:, 0]
    gates = mixer.gate(x).sigmoid()
    close("formula", mixer(x), gates[..., :8] * local + gates[..., 8:] * known)


@identity("a stack of L layers reaches back L (kernel - 1) tokens, and not one more")
def receptive_field() -> None:
    body = Backbone(load_spec("[gated_associative_memory(kernel=4)]*3 dim=8")).double()
    assert body.info.reach == (9, 0)
    x = torch.randn(1, 20, 8, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(body(x)[0, 15].sum(), x)
    reached = (gradient[0] != 0).any(-1).nonzero()[:, 0].tolist()
    assert reached == list(range(15 - 9, 16))
