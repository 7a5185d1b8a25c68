"""Identities of Primer, and its study."""

from __future__ import annotations

import torch
from torch import nn

from anyformer.channels.mlp import MLP
from anyformer.laws.checks import reduces_to, streams
from anyformer.laws.measures import close
from anyformer.mixers.softmax.attention import Attention
from anyformer_papers.identity import identity
from anyformer_papers.study import Study

study = Study(
    task="bytes",
    arms={
        "convolutions": "[attention(conv_width=3)]*2 channel=mlp(activation=relu2)",
        "none": "[attention(conv_width=0)]*2 channel=mlp(activation=relu2)",
    },
    smallest=0.05,
    steps=1500,
    parameters=100_000,
    options={"length": 64},
)


@identity("with the newest tap one and the others zero it is attention")
def identity_taps() -> None:
    plain, mixer = Attention(16).double(), Attention(16, conv_width=3).double()
    for conv in mixer.convs.values():
        weight = conv.get_parameter("weight")
        weight.data = torch.eye(3, dtype=torch.float64)[-1].repeat(len(weight), 1)
    x = torch.randn(2, 20, 16, dtype=torch.float64)
    reduces_to(plain, mixer, x, strict=False, tolerance=1e-12)


@identity("the layer = PyTorch's convolution of each head, then its attention")
def equals_torch() -> None:
    mixer, x = (
        Attention(16, num_heads=2, conv_width=3, positions="none").double(),
        torch.randn(2, 20, 16).double(),
    )
    heads = []
    for name, layer in (("q", mixer.q), ("k", mixer.k), ("v", mixer.v)):
        weight = mixer.convs[name].get_parameter("weight")
        weight.data += torch.randn_like(weight)
        conv = nn.Conv1d(8, 8, 3, padding=2, groups=8, bias=False).double()
        conv.weight.data = weight.data[:, None]
        y = layer(x).unflatten(-1, (2, 8)).permute(0, 2, 3, 1).flatten(0, 1)  # (B * H, K, T)
        heads.append(conv(y)[..., :20].unflatten(0, (2, 2)).mT)
    y = nn.functional.scaled_dot_product_attention(heads[0], heads[1], heads[2], is_causal=True)
    close("y", mixer(x), mixer.out(y.transpose(1, 2).flatten(2)))


@identity(
    "token by token it keeps two projected tokens beside the keys and values, and gives what all at once do"
)
def streamed() -> None:
    mixer, x = Attention(16, conv_width=3).double(), torch.randn(2, 20, 16, dtype=torch.float64)
    state = streams(mixer, x)
    assert state["own"]["conv k"].shape == (2, 2, 16)


@identity("the feed-forward network = max(x, 0)^2 between two maps, whose slope grows from zero")
def squared_relu() -> None:
    mlp, x = MLP(8, activation="relu2").double(), torch.randn(5, 4, 8, dtype=torch.float64)
    close("y", mlp(x), mlp.down(mlp.up(x).clamp_min(0) ** 2))
    t = torch.linspace(-2, 2, 9, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(MLP(8, activation="relu2").activation(t).sum(), t)
    close("slope", slope, 2 * t.clamp_min(0))
