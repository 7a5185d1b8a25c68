"""Softmax attention with biases by edges and shortest paths."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from anyformer.contract import Inputs, Mixer, MixerInfo, Mixing
from anyformer.layers.edges import EDGES, KINDS, check_kinds, example_edges, lookup
from anyformer.layers.heads import head_width, merge_heads, split_heads
from anyformer.layers.linear import Linear
from anyformer.mixers import register_mixer
from anyformer.ops.attention import attention


@register_mixer("graph_attention", examples=[{}, {"num_kinds": 3, "max_distance": 2, "num_heads": 2}])
class GraphAttention(Mixer):
    """Attention between all nodes, with a learned bias a head for what relates them (Ying et al. 2021, eq. 6 and 7).

    s_ts = q_t k_s / sqrt(K) + b_r, where r is the kind of the edge from t to s; without one, the number of edges of
    the shortest path; or that s is t, or that no path is known. Where an edge joins them, the bias by the distance 1
    and that by the kind are one. Biases begin at -2^(1 - 4 h / H) for each step of distance, so that head h, from 0,
    begins with a neighbourhood of its own width; the paper's begin near 0, from where they hardly find neighbours in a
    large graph.

    It needs the side input ``edges`` (B, T, T), see :mod:`anyformer.layers.edges`.

    Args:
        num_heads: heads H.
        num_kinds: kinds of edges with a bias of their own; larger ones have that of the last.
        max_distance: the longest path with a bias of its own, from 2 edges on; longer ones have that of the last.
        causal: must be False, since edges have no direction in time.
    """

    class Options(Mixer.Options):
        num_heads: int = 4
        num_kinds: int = KINDS
        max_distance: int = 8
        causal: bool = False

        def info(self) -> MixerInfo:
            self.needs_causal(False, "a node's neighbours may stand anywhere")
            check_kinds(self.num_kinds)
            if self.max_distance < 2:
                raise ValueError(f"max_distance must be at least 2, got {self.max_distance}")
            return MixerInfo(reach=(None, None), cost="n^2", memory="n^2", side={"edges": EDGES})

    options: Options

    def __init__(self, dim: int, **options: Any) -> None:
        super().__init__(dim, **options)
        o = self.options
        head_width(dim, o.num_heads, None)
        self.num_heads, self.num_kinds, self.max_distance = o.num_heads, o.num_kinds, o.max_distance
        self.q, self.k, self.v, self.out = (Linear(dim, dim, bias=False) for _ in range(4))
        far = torch.arange(2, o.max_distance + 2)
        distance = torch.cat([far[-1:], torch.zeros(1), torch.ones(o.num_kinds), far[:-1]])
        slopes = 2.0 ** (1 - 4 * torch.arange(o.num_heads) / o.num_heads)
        self.bias = nn.Parameter(-slopes[:, None] * distance)

    def example_side(self, batch_size: int, length: int, generator: torch.Generator) -> dict[str, Tensor]:
        return {"edges": example_edges(batch_size, length, generator)}

    def hints(self) -> dict[str, dict[str, Any]]:
        return {"bias": {"decay": False}}

    def relations(self, edges: Tensor) -> Tensor:
        """Return the columns of ``bias``, (B, T, T): no relation, the node itself, kinds, distances from 2."""
        edges = edges.long()
        kinds = 1 + edges.clamp_max(self.num_kinds)
        paths = self.num_kinds - edges.clamp(-self.max_distance, -2)
        itself = torch.eye(edges.shape[1], dtype=torch.int64, device=edges.device)
        return torch.where(edges > 0, kinds, torch.where(edges < 0, paths, itself))

    def _attend(self, x: Tensor, inputs: Inputs, values: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return the outputs of the heads for ``values``, by default their own, and their own: (B, H, T, V)."""
        q, k, v = (split_heads(layer(x), self.num_heads) for layer in (self.q, self.k, self.v))
        bias = lookup(self.bias, self.relations(inputs.call.side["edges"])).to(q.dtype)
        seen = None if inputs.mask is None else inputs.mask[:, None, None]
        return attention(q, k, v if values is None else values, bias=bias, visible=seen), v

    def _forward(self, x: Tensor, inputs: Inputs) -> Tensor:
        return self.out(merge_heads(self._attend(x, inputs)[0]))

    def _mixing(self, x: Tensor, inputs: Inputs) -> Mixing:
        T = x.shape[1]
        one_hot = torch.eye(T, device=x.device, dtype=x.dtype).expand(len(x), self.num_heads, T, T)
        matrix, v = self._attend(x, inputs, one_hot)
        return Mixing(matrix, v, lambda y: inputs.zero(self.out(merge_heads(y))))
