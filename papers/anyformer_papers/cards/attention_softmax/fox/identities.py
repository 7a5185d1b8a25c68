"""Identities of The Forgetting Transformer, and its study."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from anyformer.laws.checks import from_heads, heads_of, reduces_to, separate, streams
from anyformer.laws.measures import close
from anyformer.mixers.softmax.attention import Attention
from anyformer.mixers.softmax.fox import ForgettingAttention
from anyformer.positions import create_position
from anyformer_papers.identity import identity, peer
from anyformer_papers.study import Study

study = Study(
    task="bytes",
    arms={"fox": "[fox]*2", "rope": "[attention]*2"},
    options={"length": 32},
    smallest=0.05,
    steps=400,
    times_longer=4,
)


def gated(mixer: ForgettingAttention, x: Tensor, gates: Tensor) -> Tensor:
    """Attention with the weight of every pair multiplied by the gates between, (B, T, H)."""
    q, k, v = heads_of(mixer, x)
    T, scores = x.shape[1], (q @ k.mT) * mixer.head_dim**-0.5
    product = torch.zeros_like(scores)
    for i in range(T):
        for j in range(i + 1):
            product[:, :, i, j] = gates[:, j + 1 : i + 1].prod(1)
    weights = product * scores.exp()
    return from_heads(mixer, weights / weights.sum(-1, keepdim=True) @ v)


@identity("the running sum = the product of gates, pair by pair")
def products() -> None:
    mixer, x = ForgettingAttention(8, num_heads=2).double(), torch.randn(2, 12, 8, dtype=torch.float64)
    close("y", mixer(x), gated(mixer, x, mixer.forget(x).sigmoid()))


@identity("open gates leave attention without positions, and constant gates are ALiBi of slope -log f")
def constant_gates() -> None:
    mixer, x = ForgettingAttention(16).double(), torch.randn(2, 20, 16, dtype=torch.float64)
    slopes = create_position("alibi", dim=16, num_heads=4, head_dim=4).get_buffer("slopes").double()
    for positions, bias in (("none", torch.full((4,), 60.0)), ("alibi", -torch.expm1(slopes).log())):
        torch.nn.init.zeros_(mixer.forget.weight)
        assert mixer.forget.bias is not None
        mixer.forget.bias.data = bias.double()  # logsigmoid(-log(e^m - 1)) = -m
        plain = Attention(16, positions=positions).double()
        reduces_to(mixer, plain, x, weights=separate(mixer), what=positions)


@identity("token by token it gives what all at once do, Pro too, with far keys forgotten")
def streamed() -> None:
    for pro in (False, True):
        mixer, x = ForgettingAttention(16, pro=pro).double(), torch.randn(2, 40, 16, dtype=torch.float64)
        streams(mixer, x)


@identity("the mixer around flash-linear-attention's reference core")
def equals_fla() -> None:
    naive = peer("fla.ops.forgetting_attn.naive").naive_forgetting_attn
    mixer, x = ForgettingAttention(8, num_heads=2), torch.randn(2, 13, 8)
    q, k, v = (t.unflatten(-1, (2, 4)) for t in mixer.qkv(x).chunk(3, -1))
    y = naive(q, k, v, logsigmoid(mixer.forget(x)), scale=0.5)
    close("y", mixer(x), mixer.out((y[0] if isinstance(y, tuple) else y).flatten(2)), 1e-5)
