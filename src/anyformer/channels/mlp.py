"""Feed-forward networks, one token at a time."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.nn.functional import gelu, relu, silu

from anyformer.channels import register_channel
from anyformer.contract import Inputs, Mixer, MixerInfo
from anyformer.layers.linear import Linear
from anyformer.ops.swiglu import swiglu
from anyformer.registry import nearest

ACTIVATIONS = {
    "gelu": gelu,
    "gelu_tanh": lambda x: gelu(x, approximate="tanh"),
    "relu": relu,
    "relu2": lambda x: relu(x).square(),
    "silu": silu,
}


@register_channel(
    "mlp", papers=["transformer", "primer"], examples=[{}, {"activation": "relu"}, {"activation": "relu2"}]
)
class MLP(Mixer):
    """Two linear maps with an activation between (Vaswani 2017, eq. 2; ``relu2`` is Primer's, So 2021).

    Args:
        hidden_dim: width F between the maps, by default ``factor`` * dim.
        activation: ``gelu``, ``gelu_tanh`` (GPT-2's), ``relu``, ``relu2`` (squared) or ``silu``.
    """

    def __init__(
        self,
        dim: int,
        *,
        hidden_dim: int | None = None,
        factor: float = 4,
        activation: str = "gelu",
        bias: bool = True,
        causal: bool = True,
    ) -> None:
        super().__init__(dim)
        if activation not in ACTIVATIONS:
            raise ValueError(f"unknown activation {activation!r}{nearest(activation, list(ACTIVATIONS))}")
        F = hidden_width(dim, hidden_dim, factor)
        self.activation = activation
        self.up = Linear(dim, F, bias=bias)
        self.down = Linear(F, dim, bias=bias)

    @classmethod
    def describe(cls, **_: Any) -> MixerInfo:
        return MixerInfo(reach=(0, 0))

    def _forward(self, x: Tensor, inputs: Inputs) -> Tensor:
        return self.down(ACTIVATIONS[self.activation](self.up(x)))


@register_channel("swiglu", papers=["glu"])
class SwiGLU(Mixer):
    """A linear map gated by silu of another (Shazeer 2020, eq. 6).

    Args:
        hidden_dim: width F between the maps, by default ``factor`` * dim, so that parameters match a 4x MLP.
        bias: biases on the maps.
    """

    def __init__(
        self,
        dim: int,
        *,
        hidden_dim: int | None = None,
        factor: float = 8 / 3,
        bias: bool = False,
        causal: bool = True,
    ) -> None:
        super().__init__(dim)
        F = hidden_width(dim, hidden_dim, factor)
        self.gate = Linear(dim, F, bias=bias)
        self.up = Linear(dim, F, bias=bias)
        self.down = Linear(F, dim, bias=bias)

    @classmethod
    def describe(cls, **_: Any) -> MixerInfo:
        return MixerInfo(reach=(0, 0))

    def _forward(self, x: Tensor, inputs: Inputs) -> Tensor:
        return self.down(swiglu(self.gate(x), self.up(x)))


def hidden_width(dim: int, hidden_dim: int | None, factor: float) -> int:
    """``hidden_dim``, or ``factor`` * dim, checked."""
    F = round(dim * factor) if hidden_dim is None else hidden_dim
    if F < 1:
        raise ValueError(f"hidden_dim must be at least 1, got {F}")
    return F
