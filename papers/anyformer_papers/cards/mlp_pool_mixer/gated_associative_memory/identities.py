"""GAM."""

from __future__ import annotations

import torch
from torch.nn.functional import conv1d

from anyformer.mixers.gated_associative_memory import GatedAssociativeMemory
from anyformer.models.build import Backbone
from anyformer.models.spec import load_spec
from anyformer.ops.attention import attention
from anyformer.testing.measures import close
from anyformer_papers.card import Card
from anyformer_papers.study import Study

card = Card(
    slug="gated-associative-memory",
    what="A causal depthwise convolution for what is near, a softmax look-up in a learned bank for what is "
    "known, and two gates that weigh them: no attention, linear cost.",
    parts=("mixer gated_associative_memory",),
    differs="softmax(x M^T) M reads memories that are weights, the same for every text, where attention "
    "reads the text: it is attention to persistent memory with tied keys and values and without the context.",
    followed="code",
    notes="The paper calls the bank a global path, but it moves nothing between tokens: the model's reach "
    "is that of its convolutions, layers * (kernel - 1) + 1 tokens, and copying from further back is "
    "impossible.",
    claim="On WikiText-2 it trains faster than a Transformer and Mamba and ends at a lower or like "
    "validation perplexity.",
    study=Study(
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
    ),
)


@card.exact("the mixer = its formula, by PyTorch's convolution and attention to the bank")
def formula() -> None:
    mixer = GatedAssociativeMemory(8, num_slots=5, kernel=3).double()
    x = torch.randn(2, 12, 8, dtype=torch.float64)
    weight = mixer.conv.weight[:, None]
    local = conv1d(x.transpose(1, 2), weight, mixer.conv.bias, padding=2, groups=8)[..., :12].transpose(1, 2)
    bank = mixer.memory.expand(2, 1, -1, -1)
    known = attention(x[:, None], bank, bank, scale=1.0)[:, 0]
    gates = mixer.gate(x).sigmoid()
    close("formula", mixer(x), gates[..., :8] * local + gates[..., 8:] * known)


@card.exact("a stack of L layers reaches back L (kernel - 1) tokens, and not one more")
def receptive_field() -> None:
    body = Backbone(load_spec("[gated_associative_memory(kernel=4)]*3 dim=8")).double()
    assert body.info.reach == (9, 0)
    x = torch.randn(1, 20, 8, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(body(x)[0, 15].sum(), x)
    reached = (gradient[0] != 0).any(-1).nonzero()[:, 0].tolist()
    assert reached == list(range(15 - 9, 16))
