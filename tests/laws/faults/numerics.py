"""Faults of numbers."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from anyformer import Mixer, MixerInfo, Mixing
from anyformer.contract import Inputs
from anyformer.laws.faults import Sound, breaks
from anyformer.ops import _base
from anyformer.ops.linear_attention import linear_attention
from anyformer.state import State


@breaks("precision")
class SquaresInFloat16(Mixer):
    """Divides by a norm whose squares float16 does not hold."""

    class Options(Mixer.Options):
        def info(self) -> MixerInfo:
            return MixerInfo(reach=(0, 0))

    def __init__(self, dim: int, **options: Any) -> None:
        super().__init__(dim, **options)
        self.scale = nn.Parameter(torch.ones(dim))

    def _forward(self, x: Tensor, inputs: Inputs) -> Tensor:
        square = x * x
        return x * square / (square.sum(-1, keepdim=True) + 1e-3) * self.scale


@breaks("definition")
class WrongFastForm(Sound):
    """Depends on something that the definition does not: a constant of the fast form."""

    def _forward(self, x: Tensor, inputs: Inputs) -> Tensor:
        k = x[:, None].to(torch.promote_types(x.dtype, torch.float32))
        y, _ = linear_attention(k, k, k)
        factor = 1.0 if _base._definition_depth else 1.001
        return super()._forward(x, inputs) + factor * y[:, 0].to(x.dtype)


@breaks("gradient")
class DeadParameter(Sound):
    """Has a parameter that its output does not depend on."""

    def __init__(self, dim: int) -> None:
        super().__init__(dim)
        self.unused = nn.Parameter(torch.ones(dim))

    def _forward(self, x: Tensor, inputs: Inputs) -> Tensor:
        return super()._forward(x, inputs) + 0 * self.unused


@breaks("precision")
class Float32Only(Sound):
    """Gives float32 whatever comes in."""

    def _forward(self, x: Tensor, inputs: Inputs) -> Tensor:
        y = super()._forward(x, inputs)
        return y if x.dtype == torch.float64 else y.float()


@breaks("mixing")
class WrongMatrix(Sound):
    """Shows a mixing matrix that is not what it does."""

    def _mixing(self, x: Tensor, inputs: Inputs) -> Mixing:
        eye = torch.eye(x.shape[1], dtype=x.dtype).expand(x.shape[0], 1, -1, -1)
        return Mixing(eye, self.map(x)[:, None], lambda y: y[:, 0])


@breaks("precision")
class NarrowInside(Sound):
    """Computes in float32, and gives what it was given."""

    def _run(self, x: Tensor, initial: Tensor, inputs: Inputs) -> tuple[Tensor, Tensor]:
        return super()._run(x.float().to(x.dtype), initial, inputs)


@breaks("precision")
class StreamsOneDtype(Sound):
    """Puts what autocast made narrow where something wide is kept."""

    def _stream(self, x: Tensor, state: State, inputs: Inputs) -> tuple[Tensor, State]:
        y, new = super()._stream(x, state, inputs)
        if x.shape[1]:
            torch.zeros_like(x, dtype=state["h"].dtype).index_copy_(
                1, torch.zeros(1, dtype=torch.int64), self.map(x[:, :1]).to(y.dtype)
            )
        return y, new


@breaks("precision")
class BuiltInFloat32(Sound):
    """Builds its parameters in float32 whatever the default is."""

    def __init__(self, dim: int) -> None:
        super().__init__(dim)
        self.decay = nn.Parameter(torch.full((dim,), -0.5, dtype=torch.float32))
