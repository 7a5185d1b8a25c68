"""Faults of what a token sees."""

from __future__ import annotations

from torch import Tensor

from anyformer.contract import Inputs
from anyformer.laws.faults import Sound, breaks


@breaks("reach")
class LeakThroughTopK(Sound):
    """Only the largest tokens of the whole sequence are let in: no gradient tells, a later token decides."""

    def _forward(self, x: Tensor, inputs: Inputs) -> Tensor:
        size = x.detach().square().sum(-1)
        kept = size >= size.topk(max(1, x.shape[1] // 2), 1).values[:, -1:]
        return super()._forward(x * kept[..., None], inputs)


@breaks("padding")
class UsesPaddedLength(Sound):
    """Takes a hyper-parameter from the padded length."""

    def _forward(self, x: Tensor, inputs: Inputs) -> Tensor:
        return super()._forward(x, inputs) / x.shape[1]


@breaks("length")
class FailsOnPrimes(Sound):
    """Reshapes into chunks of two."""

    def _forward(self, x: Tensor, inputs: Inputs) -> Tensor:
        y = super()._forward(x, inputs)
        return y.unflatten(1, (-1, 2)).flatten(1, 2) if x.shape[1] > 100 or x.shape[1] == 13 else y


@breaks("length")
class MeanOfNothing(Sound):
    """Divides by the number of tokens, which may be none."""

    def _forward(self, x: Tensor, inputs: Inputs) -> Tensor:
        mean = self.map(x).sum(1) / inputs.lengths[:, None]
        return super()._forward(x, inputs) + 0 * mean[:, None]
