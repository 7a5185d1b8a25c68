"""Identities of BabyHGRN, and its study."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid, silu

from anyformer.laws.measures import close
from anyformer.layers.heads import merge_heads, split_heads
from anyformer.mixers.linear.hgrn2 import Hgrn2
from anyformer.ops.linear_attention import linear_attention
from anyformer.ops.scan import scan
from anyformer_papers.identity import identity, peer
from anyformer_papers.study import Study

study = Study(
    task="bytes",
    arms={
        "hgrn2": "[hgrn2, hgrn2(lower_bound=0.5)]",
        "attention": "[attention, attention]",
    },
    options={"length": 64},
    smallest=0.05,
    steps=1500,
    parameters=100_000,
)


def _parts(mixer: Hgrn2, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """q, 1 - f, i and f by the paper's formulas."""
    f = mixer.f(x).sigmoid()
    if mixer.bound is not None:
        b = mixer.bound.sigmoid()
        f = b + (1 - b) * f
    q, k, i, f = (split_heads(t, mixer.num_heads) for t in (silu(mixer.q(x)), 1 - f, mixer.i(x), f))
    return q, k, i, f


@identity(
    "the whole mixer around flash-linear-attention's reference for gated linear attention, with k = 1 - f"
)
def equals_fla() -> None:
    naive = peer("fla.ops.gla.naive").naive_recurrent_gla
    for bound in (0.0, 0.75):
        mixer, x = Hgrn2(16, num_heads=2, lower_bound=bound), torch.randn(2, 70, 16)
        q, k, i, f = (t.transpose(1, 2) for t in _parts(mixer, x))
        theirs, _ = naive(q, k, i, f.log())
        y = mixer.norm(theirs.flatten(2) * 8**0.5)  # theirs divides queries by the root of the head's width
        close(f"bound {bound}", mixer(x), mixer.out(y), 1e-5)


@identity("heads of width one are HGRN: h_t = f_t h_{t-1} + (1 - f_t) i_t, channel by channel")
def vector_state() -> None:
    mixer, x = Hgrn2(8, num_heads=8, lower_bound=0.5).double(), torch.randn(2, 70, 8, dtype=torch.float64)
    q, k, i, f = (merge_heads(t) for t in _parts(mixer, x))
    h, _ = scan(f, k * i)
    close("HGRN", mixer(x), mixer.out(mixer.norm(q * h)))


@identity("a state is an average of what came in: inputs of one leave 1 - (product of all f)")
def convex() -> None:
    log_f = logsigmoid(torch.randn(1, 2, 90, 5, dtype=torch.float64))
    q, ones = torch.randn(1, 2, 90, 5, dtype=torch.float64), torch.ones(1, 2, 90, 1, dtype=torch.float64)
    _, state = linear_attention(q, -log_f.expm1(), ones, log_decay=log_f)
    close("state", state[..., 0], 1 - log_f.sum(2).exp())
