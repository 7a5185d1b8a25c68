"""QRNN: gates from a convolution, and an elementwise recurrence without weights."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from anyformer.contract import Inputs, Mixer, MixerInfo
from anyformer.layers.conv import join, recent
from anyformer.layers.linear import Linear
from anyformer.mixers import register_mixer
from anyformer.ops.scan import scan
from anyformer.state import State


@register_mixer("qrnn", examples=[{}, {"width": 1}, {"width": 4}])
class Qrnn(Mixer):
    """c_t = f_t * c_{t-1} + (1 - f_t) * z_t, y_t = o_t * c_t: the quasi-recurrent network with fo-pooling.

    z_t = tanh, f_t = sigmoid and o_t = sigmoid of maps of the last ``width`` inputs (Bradbury 2017, arXiv 1611.01576,
    eq. 1, 2 and 4).

    Args:
        width: taps of the gates' convolution, the current token included.
    """

    class Options(Mixer.Options):
        width: int = 2

        def info(self) -> MixerInfo:
            self.needs_causal(True, "it runs along time")
            if self.width < 1:
                raise ValueError(f"width must be at least 1, got {self.width}")
            return MixerInfo(reach=(None, 0), state="constant")

    options: Options

    def __init__(self, dim: int, **options: Any) -> None:
        super().__init__(dim, **options)
        o = self.options
        self.width = o.width
        self.gates = Linear(o.width * dim, 3 * dim)

    def _stream(self, x: Tensor, state: State, inputs: Inputs) -> tuple[Tensor, State]:
        T, past = x.shape[1], state.get("last")
        seen = join(x, past, self.width - 1)
        windows = torch.cat([seen[:, i : i + T] for i in range(self.width)], -1)
        z, f, o = self.gates(windows).chunk(3, -1)
        keep, new = f.sigmoid(), torch.sigmoid(-f) * z.tanh()
        if inputs.mask is not None:  # a masked token leaves the state as it is
            real = inputs.mask[..., None]
            keep, new = torch.where(real, keep, 1.0), torch.where(real, new, 0.0)
        c, final = scan(keep, new, state.get("c"))
        return o.sigmoid() * c, {"last": recent(x, past, self.width - 1, inputs.mask), "c": final}

    def _forward(self, x: Tensor, inputs: Inputs) -> Tensor:
        return self._stream(x, {}, inputs)[0]

    def _init_state(self, batch_size: int, device: torch.device, dtype: torch.dtype) -> State:
        wide = torch.promote_types(dtype, torch.float32)
        return {
            "last": torch.zeros(batch_size, self.width - 1, self.dim, device=device, dtype=dtype),
            "c": torch.zeros(batch_size, self.dim, device=device, dtype=wide),
        }
