"""Gated associative memory: a short convolution beside a bank of learned memories."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from anyformer.contract import Inputs, Mixer, MixerInfo
from anyformer.layers.conv import ShortConv
from anyformer.layers.linear import Linear
from anyformer.mixers import register_mixer
from anyformer.state import State


@register_mixer(
    "gated_associative_memory",
    examples=[{}, {"num_slots": 5, "kernel": 4}],
)
class GatedAssociativeMemory(Mixer):
    """y = g_l * conv(x) + g_g * softmax(x M^T) M, g = sigmoid(W x) (Acharya 2025, section 3).

    Only the convolution mixes tokens: the "global" path reads a bank of learned memories, the same for all inputs.

    Args:
        num_slots: memories in the bank M.
        kernel: taps of the depthwise causal convolution.
    """

    class Options(Mixer.Options):
        num_slots: int = 64
        kernel: int = 3

        def info(self) -> MixerInfo:
            self.needs_causal(True, "its convolution runs over the past")
            if self.num_slots < 1 or self.kernel < 2:
                raise ValueError(
                    f"num_slots must be at least 1 and kernel at least 2, got {self.num_slots} and {self.kernel}"
                )
            return MixerInfo(reach=(self.kernel - 1, 0), state="constant")

    options: Options

    def __init__(self, dim: int, **options: Any) -> None:
        super().__init__(dim, **options)
        o = self.options
        self.conv = ShortConv(dim, o.kernel)
        self.memory = nn.Parameter(torch.empty(o.num_slots, dim))
        nn.init.xavier_uniform_(self.memory)
        self.gate = Linear(dim, 2 * dim)

    def _mix(self, x: Tensor, past: Tensor | None, inputs: Inputs) -> tuple[Tensor, Tensor]:
        local, past = self.conv(x, past, inputs.mask)
        memory = self.memory.to(x.dtype)
        local_gate, memory_gate = self.gate(x).sigmoid().chunk(2, -1)
        return local_gate * local + memory_gate * ((x @ memory.mT).softmax(-1) @ memory), past

    def _forward(self, x: Tensor, inputs: Inputs) -> Tensor:
        return self._mix(x, None, inputs)[0]

    def _init_state(self, batch_size: int, device: torch.device, dtype: torch.dtype) -> State:
        return {"recent": self.conv.init_state(batch_size, device, dtype)}

    def _stream(self, x: Tensor, state: State, inputs: Inputs) -> tuple[Tensor, State]:
        y, past = self._mix(x, state["recent"], inputs)
        return y, {"recent": past}
