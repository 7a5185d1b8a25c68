"""Identities of DeltaNet, and its study."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import normalize

from anyformer.laws.checks import equal_with_gradients, reduces_to
from anyformer.laws.measures import close
from anyformer.mixers.linear.delta_net import DeltaNet
from anyformer.ops import use_definition
from anyformer.ops.delta_rule import delta_rule
from anyformer.ops.linear_attention import linear_attention
from anyformer_papers.identity import identity, peer
from anyformer_papers.study import Study

study = Study(  # more pairs than a head's state has rows
    task="recall",
    arms={
        "delta": "[delta_net(key_dim=8, correct=true)]*2",
        "sum": "[delta_net(key_dim=8, correct=false)]*2",
    },
    options={"num_pairs": 14, "length": 56},
    smallest=0.05,
    steps=800,
)


def _parts(T: int, V: int = 5) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    q, k = normalize(torch.randn(2, 1, 3, T, 6, dtype=torch.float64), dim=-1)
    return q, k, torch.randn(1, 3, T, V, dtype=torch.float64), torch.rand(1, 3, T, dtype=torch.float64)


@identity("one token at a time = chunks = all pairs at once, in values and gradients (section 3.2)")
def forms_agree() -> None:
    for T in (1, 63, 64, 200):
        torch.manual_seed(T)
        inputs = [t.requires_grad_() for t in _parts(T)]
        with use_definition():
            one_by_one = delta_rule(*inputs)[0]
        q, k, v, beta = inputs
        taken_out = (beta[..., None] * (k @ k.mT)).tril(-1) + torch.eye(T, dtype=torch.float64)
        pairs = (q @ k.mT).tril() @ torch.linalg.solve(taken_out, beta[..., None] * v)
        for how, y in (("chunks", delta_rule(*inputs)[0]), ("all pairs", pairs)):
            equal_with_gradients(f"{how}, length {T}", y, one_by_one, inputs)


@identity("beta = 1 and a key of unit length: S_t k_t = v_t, whatever the key held")
def overwrites() -> None:
    _, k, v, beta = _parts(150)
    close("what is read with the key just written", delta_rule(k, k, v, torch.ones_like(beta))[0], v)


@identity("where nothing has to be taken out, orthogonal keys or correct=False, it is linear attention")
def additive() -> None:
    q, _, v, beta = _parts(6)
    k = torch.eye(6, dtype=torch.float64).expand(1, 3, 6, 6)
    summed = linear_attention(q, beta[..., None] * k, v)[0]
    close("orthogonal keys", delta_rule(q, k, v, beta)[0], summed)
    delta, added = (DeltaNet(16, correct=c).double() for c in (True, False))
    x = torch.randn(1, 1, 16, dtype=torch.float64)
    reduces_to(delta, added, x, what="the first token")


@identity("flash-linear-attention's reference: outputs and final state")
def equals_fla() -> None:
    naive = peer("fla.ops.delta_rule.naive")
    q, k, v, beta = (t.float() for t in _parts(96, 6))
    theirs, final = naive.delta_rule_recurrence(q, k, v, beta)
    mine, state = delta_rule(q * 6**-0.5, k, v, beta)
    close("fla, step by step", mine, theirs, 1e-5)
    close("fla's state", state, final, 1e-5)
    theirs, _ = naive.delta_rule_chunkwise(q, k, v, beta, chunk_size=32)
    close("fla, in chunks", mine, theirs, 1e-5)
