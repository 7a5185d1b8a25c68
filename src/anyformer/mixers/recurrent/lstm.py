"""Long short-term memory, in one direction or both."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from anyformer.contract import Inputs, Mixer, MixerInfo
from anyformer.inputs import take_tokens
from anyformer.layers.global_context import GlobalContext
from anyformer.mixers import register_mixer
from anyformer.ops.lstm import LstmState, lstm
from anyformer.state import State


@register_mixer(
    "lstm",
    examples=[{}, {"causal": False}, {"causal": False, "global_context": True}],
)
class Lstm(Mixer):
    """An LSTM; bidirectional: two of half the width, one on the reversed sequence (Hochreiter 1997; Graves 2005).

    Args:
        global_context: gate the last outputs of both directions into every token
            (:class:`~anyformer.layers.global_context.GlobalContext`). Bidirectional only.
    """

    class Options(Mixer.Options):
        global_context: bool = False

        def info(self) -> MixerInfo:
            if self.global_context and self.causal:
                raise ValueError(
                    "global_context must be False with causal=True: it sees both ends of the sequence"
                )
            return MixerInfo(
                reach=(None, 0 if self.causal else None), state="constant" if self.causal else "none"
            )

    options: Options

    def __init__(self, dim: int, **options: Any) -> None:
        super().__init__(dim, **options)
        o = self.options
        if not o.causal and dim % 2:
            raise ValueError(f"dim must be even with causal=False, got {dim}")
        self.causal, directions = o.causal, 1 if o.causal else 2
        F = dim // directions
        bound = F**-0.5  # PyTorch's default
        shapes = {"weight": (4 * F, dim), "recurrent": (4 * F, F), "bias": (4 * F,)}
        for name, shape in shapes.items():
            values = torch.empty(directions, *shape).uniform_(-bound, bound)
            setattr(self, name, nn.Parameter(values))
        self.context = GlobalContext(dim) if o.global_context else None

    weight: Tensor
    recurrent: Tensor
    bias: Tensor

    def _run(
        self, direction: int, x: Tensor, inputs: Inputs, initial: LstmState | None = None
    ) -> tuple[Tensor, LstmState]:
        weights = self.weight[direction], self.recurrent[direction], self.bias[direction]
        lengths = None if inputs.mask is None else inputs.lengths
        return lstm(x, *weights, initial=initial, lengths=lengths)

    def _forward(self, x: Tensor, inputs: Inputs) -> Tensor:
        if self.causal:
            return self._run(0, x, inputs)[0]
        if x.shape[1] == 0:
            return x
        place = torch.arange(x.shape[1], device=x.device)
        mirror = (inputs.lengths[:, None] - 1 - place) % x.shape[
            1
        ]  # real tokens reversed, masked ones anywhere
        ahead, last = self._run(0, x, inputs)
        back, first = self._run(1, inputs.zero(take_tokens(x, mirror)), inputs)
        h = torch.cat((ahead, take_tokens(back, mirror)), -1)
        if self.context is None:
            return h
        return self.context(h, torch.cat((first.y, last.y), -1).to(h.dtype))

    def _init_state(self, batch_size: int, device: torch.device, dtype: torch.dtype) -> State:
        wide = torch.promote_types(dtype, torch.float32)
        zeros = torch.zeros(batch_size, self.dim, device=device, dtype=wide)
        return {"y": zeros, "c": zeros.clone()}

    def _stream(self, x: Tensor, state: State, inputs: Inputs) -> tuple[Tensor, State]:
        y, new = self._run(0, x, inputs, LstmState(state["y"], state["c"]))
        return y, {"y": new.y, "c": new.c}
