"""BabyHGRN."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid, silu

from anyformer.mixers.attention import merge_heads, split_heads
from anyformer.mixers.hgrn2 import Hgrn2
from anyformer.ops.linear_attention import linear_attention
from anyformer.ops.scan import scan
from anyformer.testing.measures import close
from anyformer_papers.card import Card, peer
from anyformer_papers.study import Study

card = Card(
    slug="babyhgrn",
    what="HGRN2, a recurrent network with a matrix for a state, as the language model of the BabyLM challenge: what "
    "can be learned from 10 or 100 million words.",
    parts=("mixer hgrn2", "model hgrn2", "op linear_attention"),
    differs="Gated linear attention, S_t = diag(f_t) S_{t-1} + k_t i_t^T, with k_t = 1 - f_t in the place of a key of "
    "its own; HGRN is the case of heads of width one. f_t >= b, and b rises with the layers.",
    followed="code",
    notes="The paper uses flash-linear-attention's HGRN2. Its bounds are one table for all layers, the running sum of "
    "a softmax over them; here each layer learns its own from where the table starts, l / L, which any trained table "
    "can be written as. The distilled variant of the paper (a teacher's KL added to the loss) is not a part of it.",
    claim="HGRN2 is better than Transformers of its size when text is scarce: it leads on BLiMP, EWoK, GLUE and BEAR "
    "in both tracks of BabyLM, 10M and 100M words.",
    study=Study(
        task="bytes",
        arms={
            "hgrn2": "[hgrn2, hgrn2(lower_bound=0.5)]",
            "attention": "[attention, attention]",
        },
        options={"length": 64},
        smallest=0.05,
        steps=1500,
        parameters=100_000,
    ),
)


def _parts(mixer: Hgrn2, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """q, 1 - f, i and f by the paper's formulas."""
    f = mixer.f(x).sigmoid()
    if mixer.bound is not None:
        b = mixer.bound.sigmoid()
        f = b + (1 - b) * f
    q, k, i, f = (split_heads(t, mixer.num_heads) for t in (silu(mixer.q(x)), 1 - f, mixer.i(x), f))
    return q, k, i, f


@card.exact(
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


@card.exact("heads of width one are HGRN: h_t = f_t h_{t-1} + (1 - f_t) i_t, channel by channel")
def vector_state() -> None:
    mixer, x = Hgrn2(8, num_heads=8, lower_bound=0.5).double(), torch.randn(2, 70, 8, dtype=torch.float64)
    q, k, i, f = (merge_heads(t) for t in _parts(mixer, x))
    h, _ = scan(f, k * i)
    close("HGRN", mixer(x), mixer.out(mixer.norm(q * h)))


@card.exact("a state is an average of what came in: inputs of one leave 1 - (product of all f)")
def convex() -> None:
    log_f = logsigmoid(torch.randn(1, 2, 90, 5, dtype=torch.float64))
    q, ones = torch.randn(1, 2, 90, 5, dtype=torch.float64), torch.ones(1, 2, 90, 1, dtype=torch.float64)
    _, state = linear_attention(q, -log_f.expm1(), ones, log_decay=log_f)
    close("state", state[..., 0], 1 - log_f.sum(2).exp())
