"""A shallow network on the flattened sequence, in place of attention."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import relu

from anyformer.contract import Inputs, Mixer, MixerInfo
from anyformer.mixers import register_mixer
from anyformer.state import State


@register_mixer(
    "flat_mlp",
    examples=[{"max_length": 64}, {"max_length": 64, "causal": False, "hidden_dim": 5}],
)
class FlatMLP(Mixer):
    """y = W_2 relu(W_1 [x_1; ...; x_L] + b_1) + b_2, shorter sequences padded with zeros (Bozic 2023, section 3).

    With ``causal=True`` a token's output is that of its prefix padded with zeros: the hidden pre-activations are a
    running sum over tokens, which is the state.

    Args:
        max_length: positions L, each with its own weights.
        hidden_dim: hidden units F.
    """

    class Options(Mixer.Options):
        max_length: int = 64
        hidden_dim: int = 32

        def info(self) -> MixerInfo:
            if self.max_length < 1 or self.hidden_dim < 1:
                raise ValueError(
                    f"max_length and hidden_dim must be at least 1, got {self.max_length} and {self.hidden_dim}"
                )
            reach = (None, 0 if self.causal else None)
            return MixerInfo(
                reach=reach, state="constant" if self.causal else "none", max_length=self.max_length
            )

    options: Options

    def __init__(self, dim: int, **options: Any) -> None:
        super().__init__(dim, **options)
        o = self.options
        self.causal, self.hidden_dim = o.causal, o.hidden_dim
        self.up = nn.Parameter(torch.randn(o.max_length, dim, o.hidden_dim) * (o.max_length * dim) ** -0.5)
        self.up_bias = nn.Parameter(torch.zeros(o.hidden_dim))
        self.down = nn.Parameter(torch.randn(o.max_length, o.hidden_dim, dim) * o.hidden_dim**-0.5)
        self.down_bias = nn.Parameter(torch.zeros(o.max_length, dim))

    def _mix(self, x: Tensor, past: Tensor | None, inputs: Inputs) -> tuple[Tensor, Tensor]:
        place = inputs.index.clamp_max(len(self.up) - 1)  # of masked tokens, which must add nothing
        wide = torch.promote_types(x.dtype, torch.float32)
        terms = torch.einsum("btd,btdf->btf", x, self.up.to(x.dtype)[place]).to(wide)
        total = terms.cumsum(1) if self.causal else terms.sum(1, keepdim=True).expand_as(terms)
        if past is not None:
            total = total + past[:, None]
        hidden = relu(total.to(x.dtype) + self.up_bias.to(x.dtype))
        y = torch.einsum("btf,btfd->btd", hidden, self.down.to(x.dtype)[place])
        last = terms.sum(1) if past is None else past + terms.sum(1)
        return y + self.down_bias.to(x.dtype)[place], last

    def _forward(self, x: Tensor, inputs: Inputs) -> Tensor:
        return self._mix(x, None, inputs)[0]

    def _init_state(self, batch_size: int, device: torch.device, dtype: torch.dtype) -> State:
        wide = torch.promote_types(dtype, torch.float32)
        return {"sum": torch.zeros(batch_size, self.hidden_dim, device=device, dtype=wide)}

    def _stream(self, x: Tensor, state: State, inputs: Inputs) -> tuple[Tensor, State]:
        y, total = self._mix(x, state["sum"], inputs)
        return y, {"sum": total}
