"""Identities of All-attention, and its study."""

from __future__ import annotations

import torch

from anyformer.laws.checks import reduces_to
from anyformer.laws.measures import close
from anyformer.mixers.softmax.attention import Attention
from anyformer.models import create_model
from anyformer.ops.attention import attention
from anyformer_papers.identity import identity, peer
from anyformer_papers.study import Study

study = Study(  # without a feed-forward network, memories beside the tokens or none
    task="listops",
    arms={
        name: f"[attention(num_heads=2, num_memories={n})]*2 channel=none"
        for name, n in (("memories", 56), ("none", 0))
    },
    options={"length": 16},
    smallest=0.02,
    steps=1000,
    parameters=30_000,
)


@identity(
    "the layer = x-transformers' with the same memories, which joins them to the tokens' keys and values"
)
def equals_x_transformers() -> None:
    theirs = peer("x_transformers.x_transformers").Attention(
        16, dim_head=4, heads=4, kv_heads=2, causal=True, num_mem_kv=5
    )
    mixer = Attention(16, num_kv_heads=2, num_memories=5, positions="none")
    order = [0, 2, 1, 3]  # theirs lets heads take turns at the keys: heads 0 and 2 share
    with torch.no_grad():
        mixer.q.weight.copy_(theirs.to_q.weight.unflatten(0, (4, 4))[order].flatten(0, 1))
        mixer.out.weight.copy_(theirs.to_out.weight.unflatten(1, (4, 4))[:, order].flatten(1))
        mixer.k.weight.copy_(theirs.to_k.weight)
        mixer.v.weight.copy_(theirs.to_v.weight)
        mixer.memory_k.copy_(theirs.mem_k / 4**0.5)
        mixer.memory_v.copy_(theirs.mem_v / 5**0.5)
    x = torch.randn(2, 9, 16)
    y = theirs(x)
    close("y", mixer(x), y[0] if isinstance(y, tuple) else y, 1e-5)


@identity("with no token in view it is a feed-forward network with a softmax for its activation")
def is_a_network() -> None:
    q, up, down = torch.randn(2, 1, 7, 8), torch.randn(20, 8), torch.randn(8, 20)
    k, v = (w.expand(2, 1, -1, -1) for w in (up, down.T))
    close("W_2 softmax(W_1 x)", attention(q, k, v, scale=1.0), (q @ up.T).softmax(-1) @ down.T, 1e-5)


@identity("no memories leave plain attention, and as many as hidden units have the parameters of its network")
def sizes() -> None:
    x = torch.randn(2, 9, 16)
    reduces_to(Attention(16), Attention(16, num_memories=0), x, tolerance=0.0)
    memories = sum(p.numel() for n, p in Attention(16, num_memories=64).named_parameters() if "memory" in n)
    network = create_model("[attention] dim=16 channel=mlp(hidden_dim=64, bias=false)", vocab_size=3)
    assert memories == sum(p.numel() for p in network.body.stack.sublayers[1].parameters())
