"""Attention over another sequence."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from anyformer.contract import Inputs, Mixer, MixerInfo
from anyformer.layers.heads import head_width, merge_heads, split_heads
from anyformer.layers.linear import Linear
from anyformer.mixers import register_mixer
from anyformer.ops.attention import attention
from anyformer.state import State


@register_mixer("cross_attention", examples=[{}, {"num_heads": 2, "head_dim": 6, "bias": True}])
class CrossAttention(Mixer):
    """Queries from x, keys and values from ``context`` (Vaswani 2017, section 3.2.3).

    In streaming, the context comes with the first tokens; its keys and values are kept in the state.

    Args:
        num_heads: heads H.
        head_dim: width of a head, by default dim / num_heads.
        bias: biases on the projections.
    """

    class Options(Mixer.Options):
        num_heads: int = 4
        head_dim: int | None = None
        bias: bool = False

        def info(self) -> MixerInfo:
            return MixerInfo(reach=(0, 0), state="constant", context=True)

    options: Options

    def __init__(self, dim: int, **options: Any) -> None:
        super().__init__(dim, **options)
        o = self.options
        self.num_heads, self.head_dim = o.num_heads, head_width(dim, o.num_heads, o.head_dim)
        width = o.num_heads * self.head_dim
        self.q = Linear(dim, width, bias=o.bias)
        self.kv = Linear(dim, 2 * width, bias=o.bias)
        self.out = Linear(width, dim, bias=o.bias)

    def _keys(self, inputs: Inputs) -> State:
        context = inputs.context
        assert context is not None
        k, v = (split_heads(t, self.num_heads) for t in self.kv(context.x).chunk(2, -1))
        mask = context.mask
        if mask is None:
            mask = torch.ones(context.x.shape[:2], dtype=torch.bool, device=context.x.device)
        return {"k": k, "v": v, "mask": mask}

    def _attend(self, x: Tensor, keys: State) -> Tensor:
        q = split_heads(self.q(x), self.num_heads)
        y = attention(q, keys["k"], keys["v"], visible=keys["mask"][:, None, None, :])
        return self.out(merge_heads(y))

    def _forward(self, x: Tensor, inputs: Inputs) -> Tensor:
        return self._attend(x, self._keys(inputs))

    def _init_state(self, batch_size: int, device: torch.device, dtype: torch.dtype) -> State:
        empty = torch.zeros(batch_size, self.num_heads, 0, self.head_dim, device=device, dtype=dtype)
        return {"k": empty, "v": empty, "mask": torch.zeros(batch_size, 0, dtype=torch.bool, device=device)}

    def _stream(self, x: Tensor, state: State, inputs: Inputs) -> tuple[Tensor, State]:
        if state["mask"].shape[1] == 0:
            if inputs.context is None:
                raise ValueError("context must be given with the first tokens of a stream, got none")
            state = self._keys(inputs)
        return self._attend(x, state), state
