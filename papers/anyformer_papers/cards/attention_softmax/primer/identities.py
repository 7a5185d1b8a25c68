"""Primer."""

from __future__ import annotations

import torch
from torch import nn

from anyformer.channels.mlp import MLP
from anyformer.mixers.attention import Attention
from anyformer.testing.measures import close
from anyformer_papers.card import Card
from anyformer_papers.study import Study

card = Card(
    slug="primer",
    what="Two changes found by searching programs: a causal depthwise convolution of width 3 behind the projections "
    "to queries, keys and values, and the square of ReLU in the feed-forward network (Primer-EZ).",
    parts=("mixer attention", "channel mlp", "model primer", "layers.conv:ShortConv"),
    differs="q_t = sum_i w_i (W_q x)_{t-i}, likewise k and v, and relu(x)^2. Conformer and GroupBERT convolve in a "
    "sublayer of its own; Mamba and DeltaNet with a silu behind.",
    followed="code",
    notes="The released code has one tap for each channel of a head, shared by all heads, without a bias, 0.5 for the "
    "newest token and 0.5 / 3 for the others at the start; the paper says only that the convolution is depthwise. The "
    "searched Primer's further changes (queries projected from the keys, a norm by x (x - mean), norms in turns before "
    "and behind) are left out: the paper finds that these two are what carries over.",
    claim="Convolutions behind the queries, keys and values are what helps most, beside the squared ReLU: 4 "
    "times less compute than a Transformer for the same quality at 500M parameters on C4.",
    study=Study(
        task="bytes",
        arms={
            "convolutions": "[attention(conv_width=3)]*2 channel=mlp(activation=relu2)",
            "none": "[attention(conv_width=0)]*2 channel=mlp(activation=relu2)",
        },
        smallest=0.05,
        steps=1500,
        parameters=100_000,
        options={"length": 64},
    ),
)


@card.exact("with the newest tap one and the others zero it is attention")
def identity_taps() -> None:
    plain, mixer = Attention(16).double(), Attention(16, conv_width=3).double()
    mixer.load_state_dict(plain.state_dict(), strict=False)
    for conv in mixer.convs.values():
        weight = conv.get_parameter("weight")
        weight.data = torch.eye(3, dtype=torch.float64)[-1].repeat(len(weight), 1)
    x = torch.randn(2, 20, 16, dtype=torch.float64)
    close("y", mixer(x), plain(x), 1e-12)


@card.exact("the layer = PyTorch's convolution of each head, then its attention")
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


@card.exact(
    "token by token it keeps two projected tokens beside the keys and values, and gives what all at once do"
)
def streams() -> None:
    mixer, x = Attention(16, conv_width=3).double(), torch.randn(2, 20, 16, dtype=torch.float64)
    state, rows = mixer.init_state(2, dtype=torch.float64), []
    for token in x.split(1, 1):
        y, state = mixer.stream(token, state)
        rows.append(y)
    close("y", torch.cat(rows, 1), mixer(x))
    assert state["own"]["conv k"].shape == (2, 2, 16)


@card.exact("the feed-forward network = max(x, 0)^2 between two maps, whose slope grows from zero")
def squared_relu() -> None:
    mlp, x = MLP(8, activation="relu2").double(), torch.randn(5, 4, 8, dtype=torch.float64)
    close("y", mlp(x), mlp.down(mlp.up(x).clamp_min(0) ** 2))
    t = torch.linspace(-2, 2, 9, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(MLP(8, activation="relu2").activation(t).sum(), t)
    close("slope", slope, 2 * t.clamp_min(0))
