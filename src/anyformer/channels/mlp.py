"""Feed-forward networks, one token at a time."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from anyformer.channels import register_channel
from anyformer.contract import Inputs, Mixer, MixerInfo
from anyformer.layers.activations import Rational, create_activation
from anyformer.layers.grouped import GroupedLinear
from anyformer.layers.linear import Linear, call_roomy
from anyformer.layers.norms import create_norm
from anyformer.ops.swiglu import swiglu
from anyformer.precision import roomy


@register_channel(
    "mlp",
    papers=["transformer", "primer", "polycom", "kat", "groupbert"],
    examples=[
        {},
        {"activation": "relu"},
        {"activation": "relu2"},
        {"activation": "poly_relu"},
        {"activation": "poly_norm"},
        {"activation": "rational", "input_activation": {"name": "rational", "start": "identity"}},
        {"groups": 4},
    ],
)
class MLP(Mixer):
    """Two linear maps with an activation between (Vaswani 2017, eq. 2; ``relu2`` is Primer's, So 2021).

    Args:
        hidden_dim: width F between the maps, by default ``factor`` * dim.
        activation: ``gelu``, ``gelu_tanh`` (GPT-2's), ``relu``, ``relu2`` (squared), ``silu``; or one that learns its
            shape, ``poly_relu``, ``poly_norm`` or ``rational``; with options, a dict with its ``name``.
        input_activation: an activation before the first map too, as in a Kolmogorov-Arnold network; ``None`` for none.
        groups: with 2 or more the second map is block-diagonal with so many blocks, and a dense map of width dim
            follows, which lets them meet again (GroupBERT's grouped FFN).
        preserve_variance: draw the weights so that a standard normal input keeps its variance; needs ``rational``
            activations (Yang 2024, section 4).
    """

    class Options(Mixer.Options):
        hidden_dim: int | None = None
        factor: float = 4
        activation: str | dict[str, Any] = "gelu"
        input_activation: str | dict[str, Any] | None = None
        groups: int = 1
        preserve_variance: bool = False
        bias: bool = True

        def info(self) -> MixerInfo:
            return MixerInfo(reach=(0, 0))

    options: Options

    def __init__(self, dim: int, **options: Any) -> None:
        super().__init__(dim, **options)
        o = self.options
        F = hidden_width(dim, o.hidden_dim, o.factor)
        self.input_activation = create_activation(o.input_activation or "identity", dim)
        self.activation = create_activation(o.activation, F)
        self.up = Linear(dim, F, bias=o.bias)
        self.down = (
            Linear(F, dim, bias=o.bias) if o.groups == 1 else GroupedLinear(F, dim, o.groups, bias=o.bias)
        )
        self.out = nn.Identity() if o.groups == 1 else Linear(dim, dim, bias=o.bias)
        if o.preserve_variance:
            _preserve_variance((self.input_activation, self.up), (self.activation, self.down))

    def _forward(self, x: Tensor, inputs: Inputs) -> Tensor:
        hidden = self.up(self.input_activation(x))
        return self.out(call_roomy(self.down, self.activation(roomy(hidden)), hidden.dtype).to(hidden.dtype))


@register_channel(
    "glu",
    papers=["glu", "activator"],
    examples=[{}, {"activation": "gelu", "branch_norm": "layer_norm", "bias": True}],
)
class GLU(Mixer):
    """A linear map gated by an activation of another (Shazeer 2020, eq. 5).

    Args:
        hidden_dim: width F between the maps, by default ``factor`` * dim, so that parameters match a 4x MLP.
        activation: of the gate, by name, or a dict with its ``name`` and options: ``sigmoid`` is the first GLU
            (Dauphin 2017), ``gelu`` GEGLU, ``relu`` ReGLU, ``identity`` the bilinear map, ``silu`` SwiGLU.
        branch_norm: a norm by name, the same module on the gate and on what is gated (Abdullah 2024).
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


@register_channel("swiglu", papers=["glu"])
class SwiGLU(GLU):
    """A linear map gated by silu of another (Shazeer 2020, eq. 6).

    Args:
        hidden_dim: width F between the maps, by default ``factor`` * dim, so that parameters match a 4x MLP.
        bias: biases on the maps.
    """

    class Options(GLU.Options, without=("activation", "branch_norm")):
        activation = "silu"

    options: Options

    def _forward(self, x: Tensor, inputs: Inputs) -> Tensor:
        gate = self.gate(x)
        gated = swiglu(roomy(gate), roomy(self.up(x)))
        return call_roomy(self.down, gated, gate.dtype).to(gate.dtype)


def hidden_width(dim: int, hidden_dim: int | None, factor: float) -> int:
    """``hidden_dim``, or ``factor`` * dim, checked."""
    F = round(dim * factor) if hidden_dim is None else hidden_dim
    if F < 1:
        raise ValueError(f"hidden_dim must be at least 1, got {F}")
    return F


@torch.no_grad()
def _preserve_variance(*layers: tuple[nn.Module, nn.Module]) -> None:
    for activation, linear in layers:
        if not isinstance(activation, Rational) or not isinstance(linear, nn.Linear):
            raise ValueError(
                "preserve_variance needs activation and input_activation to be 'rational', and groups=1"
            )
        nn.init.normal_(linear.weight, std=(activation.gain() * linear.in_features) ** -0.5)
        if linear.bias is not None:
            nn.init.zeros_(linear.bias)
