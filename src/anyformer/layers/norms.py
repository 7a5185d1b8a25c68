"""Norms by name."""

from __future__ import annotations

from torch import Tensor, nn

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


_NORMS = {"layer_norm": nn.LayerNorm, "rms_norm": RMSNorm}


def create_norm(name: str, dim: int, eps: float = 1e-5) -> nn.Module:
    """``"layer_norm"`` (Ba 2016), ``"rms_norm"`` (Zhang 2019) or ``"none"``, over the last axis of ``dim``."""
    if name == "none":
        return nn.Identity()
    if name not in _NORMS:
        raise ValueError(f"unknown norm {name!r}{nearest(name, [*_NORMS, 'none'])}")
    return _NORMS[name](dim, eps=eps)
