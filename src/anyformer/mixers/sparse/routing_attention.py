"""Routing attention: attention within clusters that are learned online."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import layer_norm, normalize, one_hot

from anyformer.contract import Inputs, Mixer, MixerInfo
from anyformer.layers.heads import head_width, merge_heads, split_heads
from anyformer.layers.linear import Linear
from anyformer.mixers import register_mixer
from anyformer.ops.attention import attention
from anyformer.ops.gathered_attention import gathered_attention
from anyformer.ops.select import best_keys, latest_of_bucket, nearest_centroid
from anyformer.precision import no_autocast
from anyformer.state import State


def attend_in_clusters(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    centroids: Tensor,
    count: int,
    *,
    real: Tensor | None = None,
    causal: bool = False,
) -> Tensor:
    """Attend within clusters of equal size (Roy 2020, algorithm 1); y_i is the mean over the clusters that contain i.

    The cluster of a centroid is the ``count`` queries and the ``count`` keys of largest product with it. With
    ``causal`` a query sees no later key of its cluster, but the clusters themselves still depend on later tokens.

    Args:
        q, k, v: (B, H, T, K).
        centroids: (H, N, K).
        real: (B, T) bool.

    Returns:
        (B, H, T, K), zeros for a query in no cluster.
    """
    B, H, T, K = q.shape
    seen = None if real is None else real[:, None, None, :]
    taken = [best_keys(centroids.to(x.dtype) @ x.mT, count, seen) for x in (q, k)]  # (B, H, N, count)
    N = centroids.shape[1]

    def gather(x: Tensor, slots: Tensor) -> Tensor:
        at = slots.clamp_min(0).flatten(2)[..., None]
        return x.gather(2, at.expand(-1, -1, -1, x.shape[3])).reshape(B * H, N, -1, x.shape[3])

    queries, keys, values = gather(q, taken[0]), gather(k, taken[1]), gather(v, taken[1])
    visible = (taken[1] >= 0)[..., None, :]
    if causal:
        visible = visible & (taken[1][..., None, :] <= taken[0][..., :, None])
    y = attention(queries, keys, values, visible=visible.flatten(0, 1)).reshape(B, H, -1, v.shape[3])
    at = torch.where(taken[0] < 0, T, taken[0]).flatten(2)[..., None]
    total = v.new_zeros(B, H, T + 1, v.shape[3]).scatter_add(2, at.expand_as(y), y)[:, :, :T]
    times = v.new_zeros(B, H, T + 1, 1).scatter_add(2, at, torch.ones_like(y[..., :1]))[:, :, :T]
    return total / times.clamp_min(1)


@register_mixer(
    "routing_attention",
    examples=[
        {"num_clusters": 3, "cluster_size": 5},
        {"num_clusters": 3, "cluster_size": 12, "num_heads": 2, "causal": False},
    ],
)
class RoutingAttention(Mixer):
    """Attention among tokens with the same nearest centroid (Roy 2020, section 4).

    Queries and keys are layer-normed without scale and shift. Centroids, one set per head, are running means of the
    queries and keys nearest to them, updated after each training step.

    With ``causal=False`` this is the paper's: a cluster is the ``cluster_size`` queries and keys nearest to a centroid.
    They depend on the whole sequence, so that the paper's causal form leaks later tokens. With ``causal=True`` a token
    belongs to its nearest centroid's cluster only and sees the latest ``cluster_size`` tokens of it, itself included;
    keys are the queries, as in the paper. The state is these tokens of every cluster.

    Args:
        num_heads: heads H.
        num_clusters: centroids a head.
        cluster_size: tokens that a query sees, the paper's w.
        decay: of the running means, per step.
    """

    class Options(Mixer.Options):
        num_heads: int = 4
        num_clusters: int = 16
        cluster_size: int = 32
        decay: float = 0.999

        def info(self) -> MixerInfo:
            if self.num_clusters < 1 or self.cluster_size < 1:
                raise ValueError(
                    f"num_clusters and cluster_size must be at least 1, got {self.num_clusters} and {self.cluster_size}"
                )
            if not 0 <= self.decay < 1:
                raise ValueError(f"decay must be at least 0 and below 1, got {self.decay}")
            return MixerInfo(
                reach=(None, 0 if self.causal else None), state="constant" if self.causal else "none"
            )

    options: Options

    def __init__(self, dim: int, **options: Any) -> None:
        super().__init__(dim, **options)
        o = self.options
        K = head_width(dim, o.num_heads, None)
        self.num_heads, self.head_dim, self.causal = o.num_heads, K, o.causal
        self.num_clusters, self.cluster_size, self.decay = o.num_clusters, o.cluster_size, o.decay
        self.q = Linear(dim, dim, bias=False)
        if not o.causal:
            self.k = Linear(dim, dim, bias=False)
        self.v = Linear(dim, dim, bias=False)
        self.out = Linear(dim, dim, bias=False)
        self.register_buffer("centroids", normalize(torch.randn(o.num_heads, o.num_clusters, K), dim=-1))

    centroids: Tensor

    def _project(self, x: Tensor, inputs: Inputs) -> tuple[Tensor, Tensor, Tensor]:
        with no_autocast(x):  # not autocast: rounding would change the clusters
            q = layer_norm(split_heads(self.q.exact(x), self.num_heads), (self.head_dim,))
            k = (
                q
                if self.causal
                else layer_norm(split_heads(self.k.exact(x), self.num_heads), (self.head_dim,))
            )
        if self.training:
            for t in (q,) if self.causal else (q, k):
                self._note(t, inputs)
        return q, k, split_heads(self.v(x), self.num_heads)

    @torch.no_grad()
    def _note(self, x: Tensor, inputs: Inputs) -> None:
        """Note sums and counts of the queries and keys nearest to each centroid."""
        member = one_hot(nearest_centroid(x, self.centroids), self.num_clusters).to(x.dtype)
        if inputs.mask is not None:
            member = member * inputs.mask[:, None, :, None]
        inputs.call.note(self, "sums", torch.einsum("bhtn,bhtk->hnk", member, x))
        inputs.call.note(self, "counts", member.sum((0, 2)))

    def after_step(self, notes: Mapping[str, Tensor], progress: float) -> None:
        """Move each centroid towards the direction of the mean of the tokens nearest to it."""
        if notes:
            mean = normalize(notes["sums"].to(self.centroids), dim=-1)
            moved = self.decay * self.centroids + (1 - self.decay) * mean
            self.centroids.copy_(torch.where(notes["counts"][..., None] > 0, moved, self.centroids))

    def _forward(self, x: Tensor, inputs: Inputs) -> Tensor:
        if x.shape[1] == 0:
            return x
        q, k, v = self._project(x, inputs)
        if self.causal:
            tokens = self._tokens(q, k, v, inputs)
            return self._latest_attention(q, tokens, tokens)
        y = attend_in_clusters(q, k, v, self.centroids, self.cluster_size, real=inputs.mask)
        return self.out(merge_heads(y))

    def _init_state(self, batch_size: int, device: torch.device, dtype: torch.dtype) -> State:
        size = self.num_clusters * (self.cluster_size - 1)
        empty = torch.zeros(batch_size, self.num_heads, size, self.head_dim, device=device, dtype=dtype)
        number = torch.zeros(batch_size, self.num_heads, size, device=device, dtype=torch.int64)
        return {"k": empty, "v": empty, "bucket": number - 1, "index": number}

    def _stream(self, x: Tensor, state: State, inputs: Inputs) -> tuple[Tensor, State]:
        q, k, v = self._project(x, inputs)
        if q.shape[2] == 0:
            return x, state
        new = self._tokens(q, k, v, inputs)
        both = {name: torch.cat([state[name], t], 2) for name, t in new.items()}
        return self._latest_attention(q, new, both), self._latest(both)

    def _tokens(self, q: Tensor, k: Tensor, v: Tensor, inputs: Inputs) -> State:
        """Return the state entries of this call's tokens."""
        bucket = nearest_centroid(q, self.centroids)
        if inputs.mask is not None:
            bucket = bucket.masked_fill(~inputs.mask[:, None], -1)
        return {"k": k, "v": v, "bucket": bucket, "index": inputs.index[:, None].expand_as(bucket)}

    def _latest_attention(self, q: Tensor, mine: State, theirs: State) -> Tensor:
        """Attend from queries to the latest keys of their cluster."""
        numbers = {"q_index": mine["index"], "k_index": theirs["index"]}
        slots = latest_of_bucket(mine["bucket"], theirs["bucket"], self.cluster_size, **numbers)
        return self.out(merge_heads(gathered_attention(q, theirs["k"], theirs["v"], slots)))

    def _latest(self, both: dict[str, Tensor]) -> State:
        """Return the tokens that a later one can see: the latest cluster_size - 1 of every cluster."""
        index = both["index"]
        each = torch.arange(self.num_clusters, device=index.device).expand(*index.shape[:2], -1)
        last = index.amax(-1, keepdim=True).expand_as(each)
        slots = latest_of_bucket(
            each, both["bucket"], self.cluster_size - 1, q_index=last, k_index=index
        ).flatten(2)
        at = slots.clamp_min(0)
        kept = {name: both[name].gather(2, at[..., None].expand(-1, -1, -1, self.head_dim)) for name in "kv"}
        there = slots >= 0
        return {
            **{name: t.masked_fill(~there[..., None], 0.0) for name, t in kept.items()},
            "bucket": torch.where(there, both["bucket"].gather(2, at), -1),
            "index": torch.where(there, index.gather(2, at), 0),
        }
