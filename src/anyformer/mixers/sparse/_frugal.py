"""Base of causal attention that reads a part of the cached keys in evaluation."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from anyformer.caches.numbered import put
from anyformer.contract import Inputs, Mixer, MixerInfo
from anyformer.layers.heads import head_width, key_heads, merge_heads, split_heads
from anyformer.layers.linear import Linear
from anyformer.ops.attention import attention
from anyformer.positions import Scheme, create_position, require
from anyformer.state import State


class FrugalAttention(Mixer):
    """Softmax attention that selects keys in evaluation; training sees all earlier ones.

    A subclass writes :meth:`_choose`, and :meth:`_facts` if it keeps more than keys and values. Weights have the names
    of those of ``attention``.

    Args:
        num_heads: heads H.
        num_kv_heads: key/value heads G, a divisor of H.
        positions: a position scheme by name that rotates queries and keys, or ``none``.
        causal: must be True: the keys are selected by earlier tokens.
    """

    class Options(Mixer.Options):
        num_heads: int = 4
        num_kv_heads: int | None = None
        positions: Scheme = "rope"

        def info(self) -> MixerInfo:
            self.needs_causal(True, "the keys are selected by earlier tokens")
            facts = require(self.owner, self.positions)
            if facts.scores:
                raise ValueError(
                    f"positions={self.positions!r} do not go with {self.owner}: they change scores"
                )
            return MixerInfo(
                reach=(None, 0),
                cost="n^2",
                memory="n^2",
                state="n",
                max_length=facts.max_length,
                exceptions={"modes": "evaluation reads a part of the keys, training all"},
            )

    options: Options

    def __init__(self, dim: int, **options: Any) -> None:
        super().__init__(dim, **options)
        o = self.options
        K, G = head_width(dim, o.num_heads, None), key_heads(o.num_heads, o.num_kv_heads)
        self.num_heads, self.num_kv_heads, self.head_dim = o.num_heads, G, K
        self.positions = create_position(o.positions, dim=dim, num_heads=o.num_heads, head_dim=K)
        self.q = Linear(dim, dim, bias=False)
        self.k, self.v = Linear(dim, G * K, bias=False), Linear(dim, G * K, bias=False)
        self.out = Linear(dim, dim, bias=False)

    def _facts(self, q: Tensor, number: Tensor, new: State, state: State, size: int) -> State:
        """Return further state entries, from this call's queries, keys (``new``) and numbers (B, T), and the state."""
        return {}

    def _choose(self, q: Tensor, number: Tensor, state: State) -> Tensor:
        """Attend from queries (B, H, T, K) of numbers (B, T), -1 = none, to the selected keys: (B, H, T, K)."""
        raise NotImplementedError

    def _forward(self, x: Tensor, inputs: Inputs) -> Tensor:
        return self._run(x, self._init_state(x.shape[0], x.device, x.dtype), inputs, x.shape[1])[0]

    def _init_state(self, batch_size: int, device: torch.device, dtype: torch.dtype) -> State:
        empty = torch.zeros(batch_size, self.num_kv_heads, 0, self.head_dim, device=device, dtype=dtype)
        return {"k": empty, "v": empty, "lengths": torch.zeros(batch_size, dtype=torch.int64, device=device)}

    def _stream(self, x: Tensor, state: State, inputs: Inputs) -> tuple[Tensor, State]:
        lengths = state["lengths"] + inputs.lengths
        return self._run(x, state, inputs, int(lengths.max()) if lengths.numel() else 0)

    def _run(self, x: Tensor, state: State, inputs: Inputs, size: int) -> tuple[Tensor, State]:
        if x.shape[1] == 0:
            return x, state
        q, k, v = (
            split_heads(layer(x), heads)
            for layer, heads in (
                (self.q, self.num_heads),
                (self.k, self.num_kv_heads),
                (self.v, self.num_kv_heads),
            )
        )
        q, k = self.positions.rotate(q, k, inputs.positions)
        number = inputs.zero(inputs.index + 1) - 1
        new = {"k": k, "v": v}
        kept = {name: put(state[name], t, number, size) for name, t in new.items()}
        kept["lengths"] = state["lengths"] + inputs.lengths
        if self.training:
            place = torch.arange(size, device=x.device)
            y = attention(q, kept["k"], kept["v"], visible=(place <= number[..., None])[:, None])
        else:
            kept |= self._facts(q, number, new, {**state, **kept}, size)
            y = self._choose(q, number, kept)
        return self.out(merge_heads(y)), kept
