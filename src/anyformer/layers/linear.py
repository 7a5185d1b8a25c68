"""The linear layer of all mixers."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from anyformer.ops.linear import linear
from anyformer.precision import no_autocast


class Linear(nn.Linear):
    """:class:`torch.nn.Linear`, run by the op :func:`anyformer.ops.linear.linear`."""

    def forward(self, input: Tensor) -> Tensor:
        """y (..., N) of x (..., K)."""
        return linear(input, self.weight, self.bias)

    def exact(self, input: Tensor) -> Tensor:
        """The same in the weights' dtype whatever autocast says, for what chooses: rounding would choose otherwise."""
        with no_autocast(input):
            return self.forward(input.to(self.weight.dtype))


def call_roomy(layer: nn.Module, x: Tensor, dtype: torch.dtype) -> Tensor:
    """layer(x) of an x that may be wider than ``dtype``, in which the layer is.

    In float16, which may not hold x, it is computed in float32 and stays so wide: who calls it narrows what fits.
    """
    if x.dtype == dtype or dtype != torch.float16:
        y: Tensor = layer(x.to(dtype))
    else:
        wide = {name: weight.float() for name, weight in layer.named_parameters()}
        y = torch.func.functional_call(layer, wide, (x,))
    return y
