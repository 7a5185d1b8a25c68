"""The sentence token's vector, gated into every output of a stack."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from torch import Tensor

from anyformer.contract import Inputs, Mixer, MixerInfo, Wrapper
from anyformer.layers.global_context import GlobalContext
from anyformer.state import State
from anyformer.wrappers import register_wrapper


@register_wrapper("global_context")
class GlobalContextBlock(Wrapper):
    """y_t = i_t * h_t + j_t * h_0 of a stack's outputs h: the global context mechanism after a Transformer (Xu 2023).

    The first token represents the sentence, as in BERT. For the last outputs of both directions of an LSTM, see the
    mixer ``lstm``.

    Args:
        inner: any mixer; a causal one streams.
    """

    class Options(Wrapper.Options):
        def info(self, inner: MixerInfo) -> MixerInfo:
            state = "constant" if inner.causal and inner.state == "none" else inner.state
            return dataclasses.replace(inner, reach=(None, inner.reach[1]), state=state)

    options: Options

    def __init__(self, dim: int, inner: Mixer, **options: Any) -> None:
        super().__init__(dim, inner, **options)
        self.inner, self.context = inner, GlobalContext(dim)

    def _forward(self, x: Tensor, inputs: Inputs) -> Tensor:
        h = self.inner(x, inputs)
        return self.context(h, h[:, 0]) if h.shape[1] else h

    def _init_state(self, batch_size: int, device: torch.device, dtype: torch.dtype) -> State:
        first = torch.zeros(batch_size, self.dim, device=device, dtype=dtype)
        return {"inner": self.inner.own_state(batch_size, device, dtype), "first": first}

    def _stream(self, x: Tensor, state: State, inputs: Inputs) -> tuple[Tensor, State]:
        h, inner = self.inner.stream(x, state["inner"], inputs)
        if h.shape[1] == 0:
            return h, {**state, "inner": inner}
        begins = (inputs.index[:, 0] == 0) & (inputs.lengths > 0)
        first = torch.where(begins[:, None], h[:, 0].to(state["first"].dtype), state["first"])
        return self.context(h, first.to(h.dtype)), {"inner": inner, "first": first}
