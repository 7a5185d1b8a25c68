"""Legendre memory units."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import relu

from anyformer.contract import Inputs, Mixer, MixerInfo
from anyformer.layers.constants import register_constant
from anyformer.layers.linear import Linear
from anyformer.layers.state_space import hippo_legt, powers_along
from anyformer.mixers import register_mixer
from anyformer.ops.long_conv import long_conv
from anyformer.precision import no_autocast, wide
from anyformer.state import State


@register_mixer(
    "lmu",
    examples=[{"order": 5, "window": 12}, {"order": 3, "window": 9, "num_inputs": 2}],
)
class LMU(Mixer):
    """A sliding window of the past in Legendre polynomials (Voelker 2019; as in LMUFormer, Liu 2024, eq. 1-5).

    u_t = relu(W_u x_t), m_t = A m_{t-1} + B u_t, y_t = W_o relu(W_m m_t + W_x x_t).

    A and B are fixed: m_t holds the last ``window`` values of u as ``order`` coefficients. Training runs the
    convolution with the impulse response, streaming the recurrence.

    Args:
        order: coefficients of each input, q.
        window: time steps that they represent, theta.
        num_inputs: numbers M per token that are remembered; one in the paper.
    """

    A: Tensor
    B: Tensor

    class Options(Mixer.Options):
        order: int = 16
        window: float = 64
        num_inputs: int = 1

        def info(self) -> MixerInfo:
            self.needs_causal(True, "its memory runs along time")
            return MixerInfo(reach=(None, 0), cost="n log n", state="constant")

    options: Options

    def __init__(self, dim: int, **options: Any) -> None:
        super().__init__(dim, **options)
        o = self.options
        for name, value in (("order", o.order), ("num_inputs", o.num_inputs)):
            if value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        if not o.window > 0:
            raise ValueError(f"window must be positive, got {o.window}")
        self.order, self.num_inputs = o.order, o.num_inputs
        for place, name in enumerate("AB"):
            register_constant(self, name, partial(_matrix, place, o.order, o.window))
        self.u = Linear(dim, o.num_inputs)
        self.m = Linear(o.num_inputs * o.order, dim, bias=False)
        self.x = Linear(dim, dim)
        self.out = Linear(dim, dim)

    def _remember(self, u: Tensor, before: Tensor | None) -> Tensor:
        """Return memories (B, T, M, q) of inputs u (B, T, M), from the state ``before`` (B, M, q)."""
        B_, T, M = u.shape
        A, B = self.A.to(u.dtype), self.B.to(u.dtype)
        if T == 1 and before is not None:
            return (before @ A.mT + u[:, 0, :, None] * B)[:, None]
        kernel = powers_along(B, A.mT, T).mT.repeat(M, 1)
        m = long_conv(u.mT.repeat_interleave(self.order, 1), kernel).unflatten(1, (M, -1))
        if before is not None:
            m = m + powers_along(before @ A.mT, A.mT, T).mT
        return m.permute(0, 3, 1, 2)

    def _mix(self, x: Tensor, before: Tensor | None, inputs: Inputs) -> tuple[Tensor, Tensor]:
        with no_autocast(x):
            u = inputs.zero(relu(self.u.exact(x))).to(wide(x.dtype))
            m = self._remember(u, before)
        return self.out(relu(self.m(m.flatten(2).to(x.dtype)) + self.x(x))), m

    def _forward(self, x: Tensor, inputs: Inputs) -> Tensor:
        return self._mix(x, None, inputs)[0] if x.shape[1] else x

    def _init_state(self, batch_size: int, device: torch.device, dtype: torch.dtype) -> State:
        shape = (batch_size, self.num_inputs, self.order)
        return {"m": torch.zeros(shape, device=device, dtype=wide(dtype))}

    def _stream(self, x: Tensor, state: State, inputs: Inputs) -> tuple[Tensor, State]:
        if x.shape[1] == 0:
            return x, state
        y, m = self._mix(x, state["m"], inputs)
        last = (inputs.lengths - 1).clamp_min(0)[:, None, None, None].expand(-1, 1, *m.shape[2:])
        kept = torch.where((inputs.lengths > 0)[:, None, None], m.gather(1, last)[:, 0], state["m"])
        return y, {"m": kept}


def _matrix(place: int, order: int, window: float) -> Tensor:
    """Return A (order, order) for ``place`` 0, else B (order,)."""
    return hippo_legt(order, window)[place]
