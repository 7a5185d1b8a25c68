"""Tokens numbered from the last one back."""

from __future__ import annotations

import torch
from torch import Tensor

from anyformer.contract import Inputs
from anyformer.positions import Scheme, position_info, register_position
from anyformer.positions._around import Around
from anyformer.positions._base import PositionInfo


@register_position("reverse")
class Reverse(Around):
    """Any scheme with tokens numbered from the last one back, L - 1 - i (Rizzello 2023, section III).

    The last token has the same position at every length. Positions depend on later tokens, so a model must have
    ``causal=False``.

    Args:
        scheme: the scheme that uses the positions.
    """

    class Options(Around.Options):
        scheme: Scheme = "sinusoidal"

        def info(self) -> PositionInfo:
            return position_info(self.scheme)._replace(numbers=True, streams=False)

    options: Options

    def ids(self, inputs: Inputs, streaming: bool = False) -> Tensor:
        given = self.inner.ids(inputs, streaming)
        real = given if inputs.mask is None else given.masked_fill(~inputs.mask, -torch.inf)
        return given if given.shape[1] == 0 else (real.amax(1, keepdim=True) - given).clamp_min(0)
