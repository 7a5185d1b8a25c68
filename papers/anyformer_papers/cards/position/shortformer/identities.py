"""Identities of Shortformer, and its study."""

from __future__ import annotations

import torch
from torch import nn

from anyformer.laws.measures import close
from anyformer.layers.waves import waves
from anyformer.mixers.softmax.attention import Attention
from anyformer.models import create_model
from anyformer.tasks import Batch
from anyformer.train.trainer import cut
from anyformer_papers.identity import identity
from anyformer_papers.study import Study

study = Study(  # a proxy of the half of it that is in the model
    task="copy",
    arms={
        "infused": "[attention]*2 positions=position_infused",
        "sinusoidal": "[attention]*2 positions=sinusoidal",
    },
    options={"length": 32},
    smallest=0.05,
    steps=250,
)


@identity("torch's own attention with x + p as query and key and x as value")
def equals_torch() -> None:
    mixer = Attention(16, num_heads=2, positions="position_infused", causal=False).double()
    theirs = nn.MultiheadAttention(16, 2, bias=False, batch_first=True).double()
    theirs.load_state_dict(
        {
            "in_proj_weight": torch.cat([layer.weight for layer in (mixer.q, mixer.k, mixer.v)]),
            "out_proj.weight": mixer.out.weight,
        }
    )
    x = torch.randn(2, 20, 16, dtype=torch.float64)
    placed = x + waves(torch.arange(20, dtype=torch.float64), 16)
    close("torch", mixer(x), theirs(placed, placed, x)[0], 1e-12)


@identity(
    "attending to kept tokens is attention over them and the new ones, with places assigned in that window"
)
def cached() -> None:
    mixer = Attention(16, num_heads=2, positions="position_infused").double()
    x, place = (
        torch.randn(2, 20, 16, dtype=torch.float64),
        torch.arange(20, dtype=torch.float64).expand(2, 20),
    )
    _, state = mixer.stream(x[:, :12], mixer.init_state(2), positions=place[:, :12])
    new, _ = mixer.stream(x[:, 12:], state, positions=place[:, 12:])
    close("kept and new", new, mixer(x)[:, 12:], 1e-12)
    later, _ = mixer.stream(x[:, 12:], state, positions=place[:, 12:] + 5)
    assert float((later - new).abs().max().detach()) > 1e-6  # places do matter


@identity(
    "hidden states hold no place: equal tokens stay equal at any depth, where added sinusoids tell them apart"
)
def no_place() -> None:
    for name, same in (("position_infused", True), ("sinusoidal", False)):
        model = create_model(f"[attention]*3 dim=16 positions={name}", vocab_size=5).double()
        y = model(torch.full((1, 20), 3))
        assert (float((y - y[:, :1]).abs().max().detach()) < 1e-12) == same, name


@identity("a step on pieces is a step on the full windows in which no piece sees another")
def staged() -> None:
    model = create_model("[attention]*2 dim=16 positions=position_infused", vocab_size=5).double()
    full = Batch(torch.randint(5, (3, 24)), targets=torch.randint(5, (3, 24)))
    short = cut(full, 8)
    assert short.x.shape == (9, 8) and torch.equal(short.targets.reshape(3, 24), full.targets)
    packed = torch.arange(24).div(8, rounding_mode="floor").expand(3, 24) + 1
    close("pieces", model(short.x).reshape(3, 24, 5), model(full.x, packed), 1e-12)
