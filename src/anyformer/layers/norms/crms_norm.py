"""The compressed RMS norm, of zero-mean vectors without their last coordinate."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from anyformer.layers.norms import register_norm


@register_norm("crms_norm")
class CRMSNorm(nn.Module):
    """The RMS norm of a zero-mean vector, given without its last coordinate (Jiang 2023, eq. 5).

    z_i / sqrt((sum z^2 + (sum z)^2) / (D + 1) + eps) for i = 1..D: the coordinate left out is -sum z.

    Args:
        dim: given coordinates D.
    """

    def __init__(self, dim: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.dim, self.eps = dim, eps
        self.weight = nn.Parameter(torch.ones(dim))

    def forward(self, z: Tensor) -> Tensor:
        wide = z.to(torch.promote_types(z.dtype, torch.float32))
        square = wide.square().sum(-1, keepdim=True) + wide.sum(-1, keepdim=True).square()
        return (wide * (square / (self.dim + 1) + self.eps).rsqrt()).to(z.dtype) * self.weight
