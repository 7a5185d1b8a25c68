"""Norms by name."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from anyformer.layers.prep_bn import PRepBN
from anyformer.ops.rms_norm import rms_norm
from anyformer.registry import nearest


class RMSNorm(nn.RMSNorm):
    """:class:`torch.nn.RMSNorm` over the last axis, run by the op :func:`anyformer.ops.rms_norm.rms_norm`.

    Args:
        dim: its width.
        eps: added to the mean square.
        elementwise_affine: whether a learned weight multiplies the result.
    """

    def __init__(self, dim: int, eps: float = 1e-5, elementwise_affine: bool = True) -> None:
        super().__init__(dim, eps, elementwise_affine)

    def forward(self, x: Tensor) -> Tensor:
        """y (..., dim) of x (..., dim)."""
        assert self.eps is not None
        return rms_norm(x, self.weight, self.eps)


class CRMSNorm(nn.Module):
    """The RMS norm of a vector of mean zero, given without its last coordinate (Jiang 2023, eq. 5).

    z_i / sqrt((sum z^2 + (sum z)^2) / (D + 1) + eps) for i = 1..D: the coordinate left out is -sum z.

    Args:
        dim: coordinates given, D.
    """

    def __init__(self, dim: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.dim, self.eps = dim, eps
        self.weight = nn.Parameter(torch.ones(dim))

    def forward(self, z: Tensor) -> Tensor:
        wide = z.to(torch.promote_types(z.dtype, torch.float32))
        square = wide.square().sum(-1, keepdim=True) + wide.sum(-1, keepdim=True).square()
        return (wide * (square / (self.dim + 1) + self.eps).rsqrt()).to(z.dtype) * self.weight


NORMS: dict[str, Callable[..., nn.Module]] = {
    "crms_norm": CRMSNorm,
    "layer_norm": nn.LayerNorm,
    "prep_bn": PRepBN,
    "rms_norm": RMSNorm,
}


def create_norm(name: str, dim: int, eps: float = 1e-5) -> nn.Module:
    """A norm over the last axis of ``dim``, or nothing.

    ``"layer_norm"`` (Ba 2016), ``"rms_norm"`` (Zhang 2019), ``"crms_norm"`` (Jiang 2023), ``"prep_bn"``
    (Guo 2024) or ``"none"``.
    """
    if name == "none":
        return nn.Identity()
    if name not in NORMS:
        raise ValueError(f"unknown norm {name!r}{nearest(name, [*NORMS, 'none'])}")
    return NORMS[name](dim, eps=eps)
