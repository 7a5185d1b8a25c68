"""Gated linear units."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from anyformer.channels import register_channel
from anyformer.channels._width import hidden_width
from anyformer.contract import Inputs, Mixer, MixerInfo
from anyformer.layers.activations import create_activation
from anyformer.layers.linear import Linear, call_roomy
from anyformer.layers.norms import create_norm
from anyformer.precision import roomy


@register_channel(
    "glu",
    examples=[{}, {"activation": "gelu", "branch_norm": "layer_norm", "bias": True}],
)
class GLU(Mixer):
    """A linear map gated by an activation of another (Shazeer 2020, eq. 5).

    Args:
        hidden_dim: width F between the maps, by default ``factor`` * dim, which has the parameters of a 4x MLP.
        activation: of the gate, by name, or a dict with its ``name`` and options: ``sigmoid`` is the first GLU
            (Dauphin 2017), ``gelu`` GEGLU, ``relu`` ReGLU, ``identity`` the bilinear map, ``silu`` SwiGLU.
        branch_norm: a norm by name, one module applied to both the gate and the gated map (Abdullah 2024).
        bias: biases on the maps.
    """

    class Options(Mixer.Options):
        hidden_dim: int | None = None
        factor: float = 8 / 3
        activation: str | dict[str, Any] = "sigmoid"
        branch_norm: str = "none"
        bias: bool = False

        def info(self) -> MixerInfo:
            return MixerInfo(reach=(0, 0))

    options: Options

    def __init__(self, dim: int, **options: Any) -> None:
        super().__init__(dim, **options)
        o = self.options
        F = hidden_width(dim, o.hidden_dim, o.factor)
        self.activation = create_activation(o.activation, F)
        self.branch_norm = create_norm(o.branch_norm, F)
        self.gate = Linear(dim, F, bias=o.bias)
        self.up = Linear(dim, F, bias=o.bias)
        self.down = Linear(F, dim, bias=o.bias)

    def _forward(self, x: Tensor, inputs: Inputs) -> Tensor:
        gate = self.branch_norm(self.activation(self.gate(x)))
        gated = roomy(gate) * self.branch_norm(self.up(x))
        return call_roomy(self.down, gated, gate.dtype).to(gate.dtype)
