"""Identities of RoPE and RoFormer, and its study."""

from __future__ import annotations

from typing import Any

import torch

from anyformer.laws.checks import from_heads, heads_of
from anyformer.laws.measures import close
from anyformer.mixers.linear.linear_attention import LinearAttention
from anyformer.mixers.softmax.attention import Attention
from anyformer.positions.rope import Rope
from anyformer_papers.identity import identity, peer
from anyformer_papers.study import Study

study = Study(  # what has been learned of copying after few steps
    task="copy",
    arms={
        "rope": "[attention]*2 positions=rope",
        "sinusoidal": "[attention]*2 positions=sinusoidal",
        "learned": "[attention]*2 positions=learned(max_length=128)",
    },
    options={"length": 32},
    smallest=0.05,
    steps=250,
)


def heads(T: int, K: int = 8) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    q, k = (torch.randn(2, 2, T, K, dtype=torch.float64) for _ in range(2))
    return q, k, torch.arange(T, dtype=torch.float64).expand(2, T)


@identity("scores do not change when all places move by the same distance, for every option")
def shifted() -> None:
    q, k, place = heads(20)
    choices: list[dict[str, Any]] = [
        {},
        {"pairs": "neighbours"},
        {"fraction": 0.5},
        {"base": 500.0, "stretch": 4.0},
    ]
    for options in choices:
        rope = Rope(16, 2, 8, **options)
        (a, b), (c, d) = rope.rotate(q, k, place), rope.rotate(q, k, place + 321.5)
        close(f"{options}", c @ d.mT, a @ b.mT, 1e-12)


@identity("the formula: blocks of two by two, rotated by m theta_i, and q R_(n-m) k")
def matrices() -> None:
    q, k, place = heads(9)
    rope = Rope(16, 2, 8, pairs="neighbours")
    a, b = rope.rotate(q, k, place)

    def R(m: int) -> torch.Tensor:
        angles = m * 10000.0 ** (-2 * torch.arange(4, dtype=torch.float64) / 8)
        return torch.block_diag(
            *(torch.stack([t.cos(), -t.sin(), t.sin(), t.cos()]).reshape(2, 2) for t in angles)
        )

    for m in range(9):
        close("R_m q", a[:, :, m], q[:, :, m] @ R(m).T, 1e-12)
        for n in range(9):
            product = ((q[:, :, m] @ R(n - m)) * k[:, :, n]).sum(-1)
            close("q R_(n-m) k", (a[:, :, m] * b[:, :, n]).sum(-1), product, 1e-12)


@identity("both pairings are the same up to a permutation of the channels")
def pairings() -> None:
    q, k, place = heads(9)
    order = torch.arange(8).reshape(2, 4).T.flatten()  # 0 4 1 5 2 6 3 7
    half, neighbours = (Rope(16, 2, 8, pairs=pairs) for pairs in ("half", "neighbours"))
    for got, expected in zip(
        neighbours.rotate(q[..., order], k[..., order], place), half.rotate(q, k, place), strict=True
    ):
        close("permuted", got, expected[..., order], 1e-15)


@identity("linear attention with rotated numerators is the sum over all pairs")
def linear() -> None:
    x = torch.randn(2, 70, 16, dtype=torch.float64)
    for causal in (True, False):
        mixer = LinearAttention(16, num_heads=2, rotary=True, causal=causal).double()
        q, k, v = heads_of(mixer, x)
        q, k = mixer.feature_map(q), mixer.feature_map(k)
        rope = Rope(16, 2, 8)
        turned_q, turned_k = rope.rotate(q, k, torch.arange(70, dtype=torch.float64).expand(2, 70))
        numerator, weights = turned_q @ turned_k.mT, q @ k.mT
        if causal:
            numerator, weights = numerator.tril(), weights.tril()
        y = numerator @ v / weights.sum(-1, keepdim=True)
        close("all pairs", mixer(x), from_heads(mixer, y), 1e-10)


@identity("self-attention of transformers' RoFormer under the same weights")
def equals_roformer() -> None:
    theirs = peer("transformers.models.roformer.modeling_roformer")
    config = theirs.RoFormerConfig(hidden_size=16, num_attention_heads=2)
    attention = theirs.RoFormerSelfAttention(config).eval()
    table = theirs.RoFormerSinusoidalPositionalEmbedding(30, 8)
    table.weight.data = table.create_weight()
    mixer = Attention(
        16, num_heads=2, positions={"name": "rope", "pairs": "neighbours"}, causal=False, bias=True
    )
    for name, layer in (("q", attention.query), ("k", attention.key), ("v", attention.value)):
        getattr(mixer, name).load_state_dict(layer.state_dict())
    with torch.no_grad():
        mixer.out.weight.copy_(torch.eye(16))
        mixer.out.bias.zero_()
    x = torch.randn(2, 30, 16)
    expected = attention(x, sinusoidal_pos=table((2, 30))[None, None])[0]
    close("RoFormer", mixer(x), expected, 1e-5)
