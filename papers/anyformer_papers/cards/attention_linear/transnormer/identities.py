"""Identities of TransNormer, and its study."""

from __future__ import annotations

import torch

from anyformer.laws.checks import mixes, reduces_to, separate
from anyformer.laws.measures import close
from anyformer.layers.norms.rms_norm import RMSNorm
from anyformer.mixers.linear.linear_attention import LinearAttention
from anyformer.mixers.softmax.attention import Attention
from anyformer.mixers.sparse.diag_attention import DiagAttention
from anyformer.ops.linear_attention import linear_attention
from anyformer_papers.identity import identity
from anyformer_papers.study import Study

study = Study(  # the norm against the denominator, in the same model
    task="listops",
    arms={
        "norm": "[diag_attention(block_len=4), linear_attention(normalize=rms_norm)]*2 "
        "causal=false positions=sinusoidal",
        "denominator": "[diag_attention(block_len=4), linear_attention(normalize=true)]*2 "
        "causal=false positions=sinusoidal",
    },
    options={"length": 16},
    smallest=0.05,
    steps=1000,
    parameters=30_000,
)


@identity(
    "the gradient of a weight: p' = 1 / 4s with the denominator, below 3 / (2 sqrt(eps)) with the norm (3.1)"
)
def gradients() -> None:
    eps, found = 1e-5, []
    for size in (1.0, 1e-4, 1e-8, 1e-12):
        s = torch.full((2,), size, dtype=torch.float64, requires_grad=True)
        (p,) = torch.autograd.grad((s / s.sum())[0], s)
        close("two equal weights", p * 4 * s, torch.tensor([1.0, -1.0]))
        v = torch.randn(2, 4, dtype=torch.float64)
        norm = RMSNorm(4, eps).double()
        rows = [torch.autograd.grad(norm(s @ v)[i], s)[0] for i in range(4)]
        found.append(float(torch.stack(rows).norm() / v.norm()))
    assert max(found) < 1.5 * eps**-0.5, found


@identity("without the denominator the linear and the quadratic order agree, causal and not")
def orders() -> None:
    for causal in (True, False):
        for phi in ("elu", "signed_elu"):
            mixer = LinearAttention(16, feature_map=phi, normalize="rms_norm", causal=causal).double()
            x = torch.randn(2, 150, 16, dtype=torch.float64)
            mixes(mixer, x)


@identity("the norm takes out the denominator: one head, normed with and without it, is the same")
def scale_free() -> None:
    q, k = torch.rand(2, 1, 1, 40, 8, dtype=torch.float64)
    v = torch.randn(1, 1, 40, 8, dtype=torch.float64)
    norm = RMSNorm(8, 0.0).double()
    close("norm", norm(linear_attention(q, k, v)[0]), norm(linear_attention(q, k, v, normalize=True)[0]))


@identity("one block is all of softmax attention; many blocks are attention of each alone")
def blocks() -> None:
    def diag(block: int, causal: bool) -> DiagAttention:
        return DiagAttention(16, block_len=block, causal=causal, positions="none").double()

    x = torch.randn(3, 24, 16, dtype=torch.float64)
    for causal in (True, False):
        whole, full = diag(24, causal), Attention(16, causal=causal, positions="none").double()
        reduces_to(whole, full, x, weights=separate(whole), what="one block")
        halves = diag(8, causal)
        halves.load_state_dict(whole.state_dict())
        close("three blocks", halves(x), torch.cat([full(part) for part in x.split(8, 1)], 1))
