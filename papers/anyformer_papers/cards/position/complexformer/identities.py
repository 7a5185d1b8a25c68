"""Identities of ComplexFormer, and its study."""

from __future__ import annotations

import torch

from anyformer.laws.checks import perturb
from anyformer.laws.measures import close
from anyformer.mixers.softmax.attention import Attention
from anyformer.positions import create_position
from anyformer.positions.complex import Complex
from anyformer_papers.identity import identity, peer
from anyformer_papers.study import Study

study = Study(  # a proxy: what has been learned of copying after few steps
    task="copy",
    arms={
        "complex": "[attention]*2 positions=complex",
        "rope": "[attention]*2 positions=rope",
    },
    options={"length": 32},
    smallest=0.05,
    steps=200,
)


def heads(T: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    q, k = (torch.randn(2, 3, T, 8, dtype=torch.float64, requires_grad=True) for _ in range(2))
    return q, k, torch.arange(T, dtype=torch.float64).expand(2, T)


@identity("at first it is RoPE, gradients included")
def is_rope() -> None:
    q, k, place = heads(12)
    found = []
    for name in ("complex", "rope"):
        scheme = create_position(name, dim=24, num_heads=3, head_dim=8).double()
        a, b = scheme.rotate(q, k, place)
        scores = a @ b.mT
        found.append((scores, *torch.autograd.grad((scores**2).sum(), (q, k))))
    for what, got, expected in zip(("scores", "gradient of q", "gradient of k"), *found, strict=True):
        close(what, got, expected, 1e-11)


@identity("the rotations of queries and keys make the formula, pair by pair")
def formula() -> None:
    q, k, place = heads(7)
    scheme = Complex(24, 3, 8).double()
    perturb(scheme, 0.3)
    a, b = scheme.rotate(q, k, place)
    complex_q, complex_k = (torch.complex(*x.chunk(2, -1)) for x in (q, k))
    rates = 10000.0 ** (-torch.arange(4, dtype=torch.float64) / 4) * scheme.log_rate.exp()
    expected = torch.zeros(2, 3, 7, 7, dtype=torch.float64)
    for m in range(7):
        for n in range(7):
            left, right = complex_q[:, :, m], complex_k[:, :, n]
            angle = scheme.scale * (left.angle() - right.angle()) + scheme.phase + rates * (m - n)
            expected[:, :, m, n] = (left.abs() * right.abs() * angle.cos()).sum(-1)
    close("scores", a @ b.mT, expected, 1e-12)


@identity("at first its scores are those of transformers' Llama rotation")
def equals_llama() -> None:
    llama = peer("transformers.models.llama.modeling_llama")
    q, k, place = heads(12)
    config = llama.LlamaConfig(hidden_size=24, num_attention_heads=3, head_dim=8)
    cos, sin = llama.LlamaRotaryEmbedding(config)(q.float(), place.long())
    left, right = llama.apply_rotary_pos_emb(q, k, cos.double(), sin.double())
    a, b = Complex(24, 3, 8).double().rotate(q, k, place)
    close("scores", a @ b.mT, left @ right.mT, 1e-5)


@identity(
    "an empty channel has no phase: its gradient is finite, and it adds less than a hundredth of parameters"
)
def finite() -> None:
    mixer = Attention(64, positions="complex")
    x = torch.zeros(1, 5, 64, requires_grad=True)
    mixer(x).sum().backward()
    assert x.grad is not None and bool(x.grad.isfinite().all())
    own = sum(p.numel() for p in mixer.positions.parameters())
    assert own < 0.01 * sum(p.numel() for p in mixer.parameters())
