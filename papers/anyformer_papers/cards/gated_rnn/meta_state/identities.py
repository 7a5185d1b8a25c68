"""Identities of Meta-State, and its study."""

from __future__ import annotations

import torch
from torch.nn.functional import normalize

from anyformer.convert import grow_heads
from anyformer.laws.checks import inputs_of, perturb
from anyformer.laws.measures import close
from anyformer.mixers.linear.rwkv7 import Rwkv7
from anyformer.models import create_model
from anyformer.ops.delta_rule import delta_rule
from anyformer.ops.general_delta_rule import general_delta_rule
from anyformer_papers.identity import identity, peer
from anyformer_papers.study import Study

study = Study(  # a proxy: without feed-forward networks, with and without the encoder
    task="recall",
    arms={
        "self-state": "[rwkv7(state_heads=2)]*2 channel=none",
        "rwkv7": "[rwkv7(state_heads=0)]*2 channel=none",
    },
    options={"num_pairs": 5, "length": 32},
    smallest=0.05,
    expect="no worse",
    batch_size=16,
    steps=300,
    parameters=32_688,
    seeds=8,
)


@identity("the whole mixer around flash-linear-attention's reference recurrence (dplr), and its chunked form")
def equals_fla() -> None:
    naive = peer("fla.ops.generalized_delta_rule.dplr.naive")
    mixer, x = Rwkv7(16, num_heads=2), torch.randn(2, 64, 16)
    perturb(mixer, 0.1)
    terms, _ = mixer.terms(x, None, inputs_of(x))
    q, k, v, a, b, d = (terms[name] for name in ("q", "k", "v", "a", "b", "log_decay"))
    for theirs in (naive.dplr_recurrence, naive.dplr_chunkwise):
        y, _ = theirs(q * 8**0.5, k, v, a, b, d)  # theirs divides queries by the root of the head's width
        close(theirs.__name__, mixer(x), mixer.finish(y, q, k, v, terms["gate"]), 2e-5)


@identity("the delta rule and the gated delta rule are cases of its recurrence")
def cases() -> None:
    q, k, v = torch.randn(3, 1, 2, 70, 6, dtype=torch.float64)
    k, beta, d = (
        normalize(k, dim=-1),
        torch.rand(1, 2, 70, dtype=torch.float64),
        -torch.rand(1, 2, 70).double(),
    )
    written = beta[..., None] * k
    close("delta", general_delta_rule(q, written, v, k, -written)[0], delta_rule(q, k, v, beta)[0])
    decay = d[..., None].expand_as(q)
    gated, _ = general_delta_rule(q, written, v, k * d.exp()[..., None], -written, log_decay=decay)
    close("gated", gated, delta_rule(q, k, v, beta, log_decay=d)[0])


@identity("the encoder adds no weights; what it adds is the token's features times the state after the token")
def encoder() -> None:
    with_ = Rwkv7(16, state_heads=4).double()
    Rwkv7(16).load_state_dict(with_.state_dict())
    x = torch.randn(1, 20, 16, dtype=torch.float64)
    state, reads = with_.init_state(1, dtype=torch.float64), []
    for t in range(20):
        token = x[:, t : t + 1]
        terms, _ = with_.terms(token, state["own"]["last"], inputs_of(token))
        _, state = with_.stream(token, state)
        own = x[:, t].unflatten(-1, (4, 4))[:, :, None]
        y = (terms["q"] + own) @ state["own"]["s"]
        reads.append(with_.finish(y, terms["q"], terms["k"], terms["v"], terms["gate"]))
    close("y", with_(x), torch.cat(reads, 1))


@identity("enlarged by heads that write nothing out yet, the model gives the same outputs")
def growth() -> None:
    model = create_model("meta_state dim=16", vocab_size=11).double()
    tokens = torch.randint(11, (2, 30))
    close("grown", grow_heads(model, 7)(tokens), model(tokens))
