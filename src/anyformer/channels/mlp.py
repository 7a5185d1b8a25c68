"""Feed-forward networks, one token at a time."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from anyformer.channels import register_channel
from anyformer.channels._width import hidden_width
from anyformer.contract import Inputs, Mixer, MixerInfo
from anyformer.layers.activations import create_activation
from anyformer.layers.activations.rational import Rational
from anyformer.layers.grouped import GroupedLinear
from anyformer.layers.linear import Linear, call_roomy
from anyformer.layers.softmax_gate import SoftmaxGate
from anyformer.precision import roomy


@register_channel(
    "mlp",
    examples=[
        {},
        {"activation": "relu"},
        {"activation": "relu2"},
        {"activation": "poly_relu"},
        {"activation": "poly_norm"},
        {"activation": "rational", "input_activation": {"name": "rational", "start": "identity"}},
        {"groups": 4},
        {"gate": True},
    ],
)
class MLP(Mixer):
    """Two linear maps with an activation between (Vaswani 2017, eq. 2; ``relu2`` is Primer's, So 2021).

    Args:
        hidden_dim: width F between the maps, by default ``factor`` * dim.
        activation: ``gelu``, ``gelu_tanh`` (GPT-2's), ``relu``, ``relu2`` (squared), ``silu``; or a learned
            one, ``poly_relu``, ``poly_norm`` or ``rational``; or a dict with its ``name`` and options.
        input_activation: an activation before the first map, as in a Kolmogorov-Arnold network; ``None`` for none.
        groups: with 2 or more the second map is block-diagonal with so many blocks, followed by a dense map of width
            dim that mixes them (GroupBERT's grouped FFN).
        gate: multiply the output by the softmax over its channels of a linear map of it (TSMixer's gated attention).
        preserve_variance: initialise the weights so that a standard normal input keeps its variance; needs
            ``rational`` activations (Yang 2024, section 4).
    """

    class Options(Mixer.Options):
        hidden_dim: int | None = None
        factor: float = 4
        activation: str | dict[str, Any] = "gelu"
        input_activation: str | dict[str, Any] | None = None
        groups: int = 1
        gate: bool = False
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
        self.gate = SoftmaxGate(dim) if o.gate else nn.Identity()
        if o.preserve_variance:
            _preserve_variance((self.input_activation, self.up), (self.activation, self.down))

    def _forward(self, x: Tensor, inputs: Inputs) -> Tensor:
        hidden = self.up(self.input_activation(x))
        y = self.out(call_roomy(self.down, self.activation(roomy(hidden)), hidden.dtype).to(hidden.dtype))
        return self.gate(y)


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
