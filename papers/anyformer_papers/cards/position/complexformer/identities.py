"""ComplexFormer."""

from __future__ import annotations

import torch

from anyformer.mixers.attention import Attention
from anyformer.positions import create_position
from anyformer.positions.complex import Complex
from anyformer.testing.measures import close
from anyformer_papers.card import Card, peer
from anyformer_papers.study import Study

card = Card(
    slug="complexformer",
    what="Pairs of a head's channels are complex numbers. The score is the sum of |q| |k| cos(Adapt(arg q "
    "- arg k) + Delta(m - n)), with a map of the phases and a rotation by the distance that each head "
    "learns.",
    parts=("position complex", "mixer attention"),
    differs="RoPE has Adapt(x) = x and Delta(d) = w d with the same w in every head; here Adapt(x) = a x + "
    "b, and a, b and w are learned for each head and pair.",
    followed="reconstruction",
    notes="The abstract gives exp[i(Adapt(AS_mn) + Delta(P_mn))] and the two as learned by each head; that "
    "they are affine and linear is our reading. The paper has been withdrawn by its authors. With an "
    "affine map the score splits into a rotation of the query and one of the key, so that caches and fused "
    "kernels go on working. Phases have a jump at pi, which shows where a is no integer.",
    claim="Lower perplexity than a Transformer with RoPE at a similar size.",
    beyond_reach="scale",
    study=Study(  # a proxy: what has been learned of copying after few steps
        task="copy",
        arms={
            "complex": "[attention]*2 positions=complex",
            "rope": "[attention]*2 positions=rope",
        },
        options={"length": 32},
        smallest=0.05,
        steps=200,
    ),
)


def heads(T: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    q, k = (torch.randn(2, 3, T, 8, dtype=torch.float64, requires_grad=True) for _ in range(2))
    return q, k, torch.arange(T, dtype=torch.float64).expand(2, T)


@card.exact("at first it is RoPE, gradients included")
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


@card.exact("the rotations of queries and keys make the formula, pair by pair")
def formula() -> None:
    q, k, place = heads(7)
    scheme = Complex(24, 3, 8).double()
    with torch.no_grad():
        for p in scheme.parameters():
            p.add_(0.3 * torch.randn_like(p))
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


@card.exact("at first its scores are those of transformers' Llama rotation")
def equals_llama() -> None:
    llama = peer("transformers.models.llama.modeling_llama")
    q, k, place = heads(12)
    config = llama.LlamaConfig(hidden_size=24, num_attention_heads=3, head_dim=8)
    cos, sin = llama.LlamaRotaryEmbedding(config)(q.float(), place.long())
    left, right = llama.apply_rotary_pos_emb(q, k, cos.double(), sin.double())
    a, b = Complex(24, 3, 8).double().rotate(q, k, place)
    close("scores", a @ b.mT, left @ right.mT, 1e-5)


@card.exact(
    "an empty channel has no phase: its gradient is finite, and it adds less than a hundredth of parameters"
)
def finite() -> None:
    mixer = Attention(64, positions="complex")
    x = torch.zeros(1, 5, 64, requires_grad=True)
    mixer(x).sum().backward()
    assert x.grad is not None and bool(x.grad.isfinite().all())
    own = sum(p.numel() for p in mixer.positions.parameters())
    assert own < 0.01 * sum(p.numel() for p in mixer.parameters())
