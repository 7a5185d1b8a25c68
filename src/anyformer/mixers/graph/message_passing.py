"""Message passing: each node sums over its neighbours."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from anyformer.contract import Inputs, Mixer, MixerInfo, Mixing
from anyformer.layers.edges import EDGES, KINDS, check_kinds, example_edges, lookup
from anyformer.layers.heads import head_width, merge_heads, split_heads
from anyformer.layers.linear import Linear
from anyformer.mixers import register_mixer

AGGREGATES = ("sum", "mean")


@register_mixer("message_passing", examples=[{}, {"aggregate": "mean", "num_heads": 2, "num_kinds": 3}])
class MessagePassing(Mixer):
    """The sum over a node's neighbours and itself (Xu et al. 2019, arXiv 1810.00826, eq. 4.1: GIN).

    y_t = W_o ((1 + e) v_t + sum over edges (t, s) of w_k v_s), v = W_v x, where k is the edge's kind. e and w_k are
    numbers of each head, a group of channels. The MLP of the paper is the channel mixer of the layer.

    It needs the side input ``edges`` (B, T, T), see :mod:`anyformer.layers.edges`.

    Args:
        num_heads: heads H.
        num_kinds: kinds of edges with a weight of their own; larger ones have that of the last.
        aggregate: ``"sum"``, or ``"mean"``: divided by the number of neighbours (Hamilton et al. 2017).
        causal: must be False, since edges have no direction in time.
    """

    class Options(Mixer.Options):
        num_heads: int = 4
        num_kinds: int = KINDS
        aggregate: str = "sum"
        causal: bool = False

        def info(self) -> MixerInfo:
            self.needs_causal(False, "a node's neighbours may stand anywhere")
            check_kinds(self.num_kinds)
            if self.aggregate not in AGGREGATES:
                raise ValueError(f"aggregate must be one of {', '.join(AGGREGATES)}; got {self.aggregate!r}")
            return MixerInfo(reach=(None, None), cost="n^2", memory="n^2", side={"edges": EDGES})

    options: Options

    def __init__(self, dim: int, **options: Any) -> None:
        super().__init__(dim, **options)
        o = self.options
        head_width(dim, o.num_heads, None)
        self.num_heads, self.num_kinds, self.mean = o.num_heads, o.num_kinds, o.aggregate == "mean"
        self.v, self.out = Linear(dim, dim, bias=False), Linear(dim, dim, bias=False)
        self.own = nn.Parameter(torch.zeros(o.num_heads))
        self.kinds = nn.Parameter(torch.ones(o.num_heads, o.num_kinds))

    def example_side(self, batch_size: int, length: int, generator: torch.Generator) -> dict[str, Tensor]:
        return {"edges": example_edges(batch_size, length, generator)}

    def hints(self) -> dict[str, dict[str, Any]]:
        return {"kinds": {"decay": False}}

    def _messages(self, x: Tensor, inputs: Inputs) -> tuple[Tensor, Tensor]:
        """Return the weights (B, H, T, T) of the neighbours' values, and those of a node's own, (H, 1, 1)."""
        edges = inputs.call.side["edges"]
        table = torch.cat([self.kinds.new_zeros(self.num_heads, 1), self.kinds], 1).to(x.dtype)
        matrix = lookup(table, edges.long().clamp(0, self.num_kinds))
        if self.mean:
            matrix = matrix / (edges > 0).sum(-1).clamp_min(1).to(x.dtype)[:, None, :, None]
        return matrix, (1 + self.own).to(x.dtype)[:, None, None]

    def _forward(self, x: Tensor, inputs: Inputs) -> Tensor:
        v = split_heads(self.v(x), self.num_heads)
        matrix, own = self._messages(v, inputs)
        return self.out(merge_heads(matrix @ v + own * v))

    def _mixing(self, x: Tensor, inputs: Inputs) -> Mixing:
        v = split_heads(self.v(x), self.num_heads)
        matrix, own = self._messages(v, inputs)
        matrix = matrix + own * torch.eye(x.shape[1], dtype=v.dtype, device=x.device)
        return Mixing(matrix, v, lambda y: inputs.zero(self.out(merge_heads(y))))
