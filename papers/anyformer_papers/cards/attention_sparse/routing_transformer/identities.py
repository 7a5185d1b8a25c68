"""Identities of Routing Transformer, and its study."""

from __future__ import annotations

import torch
from torch.nn.functional import layer_norm

from anyformer.contract import Call
from anyformer.laws.checks import no_leak
from anyformer.laws.measures import close
from anyformer.mixers.sparse.routing_attention import RoutingAttention, attend_in_clusters
from anyformer.ops.attention import attention
from anyformer.ops.select import nearest_centroid
from anyformer_papers.identity import identity, peer
from anyformer_papers.study import Study

study = Study(  # what lies beyond the window can be found by content only
    task="recall",
    arms={
        "routing": "[attention(window=4), routing_attention(num_clusters=4, cluster_size=8, decay=0.9)]",
        "window": "[attention(window=4), attention(window=8)]",
    },
    options={"length": 24, "num_pairs": 4, "vocab_size": 16},
    smallest=0.05,
    steps=1000,
    parameters=30_000,
)


@identity("causally it is dense attention under the mask: same cluster, not later")
def masked() -> None:
    mixer = RoutingAttention(16, num_heads=2, num_clusters=3, cluster_size=50).double()
    x = torch.randn(2, 50, 16, dtype=torch.float64)
    q, v = (layer(x).reshape(2, 50, 2, 8).transpose(1, 2) for layer in (mixer.q, mixer.v))
    q = layer_norm(q, (8,))
    cluster = nearest_centroid(q, mixer.centroids)
    seen = (cluster[..., :, None] == cluster[..., None, :]).tril()
    y = attention(q, q, v, visible=seen)
    close("dense", mixer(x), mixer.out(y.transpose(1, 2).flatten(2)))


@identity("one cluster of all tokens is full attention, in both forms")
def one_cluster() -> None:
    q, k, v = (torch.randn(2, 3, 12, 4, dtype=torch.float64) for _ in range(3))
    one = torch.randn(3, 1, 4, dtype=torch.float64)
    for causal in (True, False):
        close("w = n", attend_in_clusters(q, k, v, one, 12, causal=causal), attention(q, k, v, causal=causal))
    mixer = RoutingAttention(16, num_heads=1, num_clusters=1, cluster_size=12).double()
    x = torch.randn(2, 12, 16, dtype=torch.float64)
    shared = layer_norm(mixer.q(x)[:, None], (16,))
    close("w = n", mixer(x), mixer.out(attention(shared, shared, mixer.v(x)[:, None], causal=True)[:, 0]))


@identity(
    "the paper's selection leaks: later tokens change earlier outputs, though they are masked; ours do not"
)
def leak() -> None:
    q, v = (torch.randn(8, 2, 60, 8, dtype=torch.float64) for _ in range(2))
    q = layer_norm(q, (8,))
    centroids = torch.randn(2, 4, 8, dtype=torch.float64)
    changed = q.clone()
    changed[:, :, 40:] = layer_norm(torch.randn(8, 2, 20, 8, dtype=torch.float64), (8,))
    before, after = (attend_in_clusters(t, t, v, centroids, 15, causal=True)[:, :, :40] for t in (q, changed))
    share = float((before != after).any(-1).double().mean())
    assert share > 0.2, share
    mixer = RoutingAttention(16, num_heads=2, num_clusters=4, cluster_size=15).double()
    no_leak(mixer, torch.randn(8, 60, 16, dtype=torch.float64), 40)


@identity("the step of the centroids is that of the package routing-transformer")
def equals_package() -> None:
    module = peer("routing_transformer.routing_transformer")
    ours = RoutingAttention(16, num_heads=2, num_clusters=5, decay=0.9).train()
    theirs = module.Kmeans(2, 8, 5, ema_decay=0.9)
    theirs.means.copy_(ours.centroids)
    theirs.initted.fill_(True)
    x, call = torch.randn(1, 30, 16), Call()
    ours(x, call=call)
    ours.after_step(call.notes[ours], 0.0)
    theirs(layer_norm(ours.q(x).reshape(1, 30, 2, 8).transpose(1, 2), (8,)), update_means=True)
    theirs.update()
    close("centroids", ours.centroids, theirs.means, 1e-5)
