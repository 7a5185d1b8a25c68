"""The linear layer of all mixers."""

from __future__ import annotations

from torch import Tensor, nn

from anyformer.ops._precision import no_autocast
from anyformer.ops.linear import linear


class Linear(nn.Linear):
    """:class:`torch.nn.Linear`, run by the op :func:`anyformer.ops.linear.linear`."""

    def forward(self, input: Tensor) -> Tensor:
        """y (..., N) of x (..., K)."""
        return linear(input, self.weight, self.bias)

    def exact(self, input: Tensor) -> Tensor:
        """The same in the weights' dtype whatever autocast says, for what chooses: rounding would choose otherwise."""
        with no_autocast(input):
            return self.forward(input.to(self.weight.dtype))
