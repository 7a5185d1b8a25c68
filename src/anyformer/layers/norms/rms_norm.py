"""The RMS norm."""

from __future__ import annotations

from torch import Tensor, nn

from anyformer.layers.norms import register_norm
from anyformer.ops.rms_norm import rms_norm


@register_norm("rms_norm")
class RMSNorm(nn.RMSNorm):
    """:class:`torch.nn.RMSNorm` over the last axis, run by the op :func:`anyformer.ops.rms_norm.rms_norm`.

    Args:
        dim: width of the last axis.
        eps: added to the mean square.
        elementwise_affine: multiply by a learned weight.
    """

    def __init__(self, dim: int, eps: float = 1e-5, elementwise_affine: bool = True) -> None:
        super().__init__(dim, eps, elementwise_affine)

    def forward(self, x: Tensor) -> Tensor:
        """Return y (..., dim) of x (..., dim)."""
        assert self.eps is not None
        return rms_norm(x, self.weight, self.eps)
