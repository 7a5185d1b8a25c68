"""A sentence vector gated into every token."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from anyformer.layers.linear import Linear


class GlobalContext(nn.Module):
    """y_t = i_t * h_t + j_t * g, gates i and j = sigmoid of maps of [g, h_t] (Xu 2023, arXiv 2305.19928, section 3).

    Args:
        dim: width D of h_t and of the sentence's vector g.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.own_gate = Linear(2 * dim, dim)
        self.context_gate = Linear(2 * dim, dim)

    def forward(self, h: Tensor, g: Tensor) -> Tensor:
        """Return y (B, T, D) of h (B, T, D) and g (B, D)."""
        g = g[:, None].expand_as(h)
        both = torch.cat((g, h), -1)
        return self.own_gate(both).sigmoid() * h + self.context_gate(both).sigmoid() * g
