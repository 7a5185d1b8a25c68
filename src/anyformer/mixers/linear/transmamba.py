"""TransMamba: one set of weights, used as attention up to a token and as a state space after it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from anyformer.caches import append, key_index
from anyformer.contract import Inputs, Mixing
from anyformer.mixers import register_mixer
from anyformer.mixers.linear.mamba2 import Mamba2, SelectiveInputs, ssd, ssd_matrix
from anyformer.ops.attention import attention
from anyformer.state import State


def convert_memory(chosen: SelectiveInputs, A: Tensor) -> Tensor:
    """Return the state that the state space would have after these tokens, (B, H, K, V).

    S = sum_i exp(A (dt_{i+1} + ... + dt_P)) B_i (dt_i x_i)^T.
    """
    x, dt, B_, _ = chosen
    left = dt.flip(-1).cumsum(-1).flip(-1) - dt
    weight = (left * A[:, None]).exp() * dt
    return B_.to(dt.dtype).mT @ (weight[..., None] * x)


@register_mixer("transmamba", examples=[{"trans_point": 5}, {"trans_point": 0, "num_heads": 2}])
class TransMamba(Mamba2):
    """Mamba-2's block whose first tokens attend (Li 2025, arXiv 2503.24067, section 3).

    (Q, K, V) of attention are (C, B, x) of the state space. Token t < P:

        y_t = sum_{s <= t} softmax_s(C_t . B_s / sqrt(K)) x_s

    and from P on the recurrence of Mamba-2, from the state that it would have had after the first P tokens
    (:func:`convert_memory`). Convolution, skip, norm and gate are the same on both sides of P.

    Args:
        trans_point: P; 0 is Mamba-2, P >= the length is attention. ``mixer.trans_point`` may be changed between
            sequences.
        num_heads: heads H, each with its own B and C.
        state_dim: K, the width of states and of queries and keys.
        expand, conv_width: as for ``mamba2``.
    """

    class Options(Mamba2.Options, without=("num_groups", "conv_bias", "bias", "norm_eps", "init")):
        trans_point: int = 64
        state_dim: int = 16

        @property  # type: ignore[misc]
        def num_groups(self) -> int:
            return self.num_heads

    options: Options

    def __init__(self, dim: int, **options: Any) -> None:
        super().__init__(dim, **options)
        if self.options.trans_point < 0:
            raise ValueError(f"trans_point must not be negative, got {self.options.trans_point}")
        self.trans_point = self.options.trans_point

    def _forward(self, x: Tensor, inputs: Inputs) -> Tensor:
        chosen, gate, _ = self._choose(x, {}, inputs)
        P = min(self.trans_point, x.shape[1])
        first, rest = (
            SelectiveInputs(*(t[:, :, part] for t in chosen)) for part in (slice(P), slice(P, None))
        )
        y = [attention(first.C, first.B, first.x, causal=True)] if P else []
        if x.shape[1] > P:
            initial = convert_memory(first, self._rates()) if P else None
            y.append(ssd(rest, self._rates(), initial)[0])
        return self._finish(torch.cat(y, 2) if y else chosen.x, chosen.x, gate)

    def _init_state(self, batch_size: int, device: torch.device, dtype: torch.dtype) -> State:
        V = self.inner_dim // self.num_heads
        k, v = (
            torch.zeros(batch_size, self.num_heads, 0, n, device=device, dtype=dtype)
            for n in (self.state_dim, V)
        )
        stored = torch.zeros(batch_size, dtype=torch.int64, device=device)
        return {**super()._init_state(batch_size, device, dtype), "first": {"k": k, "v": v, "stored": stored}}

    def _stream(self, x: Tensor, state: State, inputs: Inputs) -> tuple[Tensor, State]:
        chosen, gate, conv = self._choose(x, state, inputs)
        y, s = ssd(chosen, self._rates(), state["s"])
        attends = inputs.index < self.trans_point
        real = attends if inputs.mask is None else attends & inputs.mask
        among = inputs.replace(mask=real)
        both, kept = append(state["first"], {"k": chosen.B, "v": chosen.x}, among)
        if x.shape[1] and both["k"].shape[2]:
            index = key_index(both, among)[:, None, None, :]
            seen = (index >= 0) & (index <= inputs.index[:, None, :, None])
            attended = attention(chosen.C, both["k"], both["v"], visible=seen)
            y = torch.where(attends[:, None, :, None], attended, y)
        return self._finish(y, chosen.x, gate), {"s": s, "conv": conv, "first": kept}

    def _mixing(self, x: Tensor, inputs: Inputs) -> Mixing:
        chosen, gate, _ = self._choose(x, {}, inputs)
        index = inputs.index[0]
        scores = chosen.C @ chosen.B.mT * self.state_dim**-0.5
        weights = scores.masked_fill(index[:, None] < index, -torch.inf).softmax(-1)
        matrix = torch.where((index < self.trans_point)[:, None], weights, ssd_matrix(chosen, self._rates()))
        return Mixing(matrix, chosen.x, lambda y: inputs.zero(self._finish(y, chosen.x, gate)))
