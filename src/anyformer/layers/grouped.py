"""Block-diagonal linear maps."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class GroupedLinear(nn.Module):
    """A block-diagonal linear map over ``groups`` groups of neighbouring channels, with 1 / groups of the parameters.

    Args:
        in_features, out_features: channels, both divisible by ``groups``.
        groups: blocks of the matrix.
        bias: add a bias.
    """

    def __init__(self, in_features: int, out_features: int, groups: int, *, bias: bool = True) -> None:
        super().__init__()
        if groups < 1 or in_features % groups or out_features % groups:
            raise ValueError(f"groups must divide {in_features} and {out_features} channels, got {groups}")
        self.groups = groups
        bound = (in_features // groups) ** -0.5  # PyTorch's default for a dense map
        shape = (groups, in_features // groups, out_features // groups)
        self.weight = nn.Parameter(torch.empty(shape).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(out_features).uniform_(-bound, bound)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        """Return y (..., out_features) of x (..., in_features)."""
        y = torch.einsum("...gi,gio->...go", x.unflatten(-1, (self.groups, -1)), self.weight).flatten(-2)
        return y if self.bias is None else y + self.bias

    def dense(self) -> Tensor:
        """Return the map as a dense matrix (out_features, in_features)."""
        return torch.block_diag(*self.weight.mT)
