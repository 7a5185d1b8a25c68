"""The linear layer of all mixers."""

from __future__ import annotations

from torch import Tensor, nn

from anyformer.ops.linear import linear


class Linear(nn.Linear):
    """:class:`torch.nn.Linear`, run by the op :func:`anyformer.ops.linear.linear`."""

    def forward(self, input: Tensor) -> Tensor:
        """y (..., N) of x (..., K)."""
        return linear(input, self.weight, self.bias)
