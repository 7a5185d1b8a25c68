"""The gated linear unit with silu."""

from __future__ import annotations

from torch import Tensor

from anyformer.channels import register_channel
from anyformer.channels.glu import GLU
from anyformer.contract import Inputs
from anyformer.layers.linear import call_roomy
from anyformer.ops.swiglu import swiglu
from anyformer.precision import roomy


@register_channel("swiglu")
class SwiGLU(GLU):
    """A linear map gated by silu of another (Shazeer 2020, eq. 6).

    Args:
        hidden_dim: width F between the maps, by default ``factor`` * dim, which has the parameters of a 4x MLP.
        bias: biases on the maps.
    """

    class Options(GLU.Options, without=("activation", "branch_norm")):
        activation = "silu"

    options: Options

    def _forward(self, x: Tensor, inputs: Inputs) -> Tensor:
        gate = self.gate(x)
        gated = swiglu(roomy(gate), roomy(self.up(x)))
        return call_roomy(self.down, gated, gate.dtype).to(gate.dtype)
