"""The linear layer of all mixers."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from anyformer.ops.linear import linear
from anyformer.precision import no_autocast


class Linear(nn.Linear):
    """:class:`torch.nn.Linear`, run by the op :func:`anyformer.ops.linear.linear`."""

    def forward(self, input: Tensor) -> Tensor:
        """Return y (..., N) of x (..., K)."""
        return linear(input, self.weight, self.bias)

    def exact(self, input: Tensor) -> Tensor:
        """Return y in the weights' dtype despite autocast, for discrete choices, which rounding would change."""
        with no_autocast(input):
            return self.forward(input.to(self.weight.dtype))


def call_roomy(layer: nn.Module, x: Tensor, dtype: torch.dtype) -> Tensor:
    """Return layer(x) for an x that may be wider than ``dtype``, the layer's dtype.

    In float16, which might overflow, it is computed and returned in float32; the caller narrows the result.
    """
    if x.dtype == dtype or dtype != torch.float16:
        y: Tensor = layer(x.to(dtype))
    else:
        wide = {name: weight.float() for name, weight in layer.named_parameters()}
        y = torch.func.functional_call(layer, wide, (x,))
    return y
