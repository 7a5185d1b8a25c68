"""Flow attention: linear attention with competition among sources and allocation among sinks."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from anyformer.contract import Inputs, Mixer, MixerInfo, Mixing
from anyformer.layers.heads import head_width, merge_heads, split_heads
from anyformer.layers.linear import Linear
from anyformer.mixers import register_mixer
from anyformer.ops.linear_attention import linear_attention
from anyformer.ops.scan import scan
from anyformer.state import State

EPS = 1e-6


class FlowTerms(NamedTuple):
    """Per token phi(q) / I, phi(k), v, competition and allocation; and the running sums after the last token."""

    q: Tensor  # (B, H, T, K)
    k: Tensor  # (B, H, T, K)
    v: Tensor  # (B, H, T, K)
    compete: Tensor  # (B, H, T, 1)
    allocate: Tensor  # (B, H, T, 1)
    sums: State


@register_mixer("flow_attention", examples=[{}, {"causal": False}, {"num_heads": 2}])
class FlowAttention(Mixer):
    """Linear attention with conserved flows (Wu 2022, eq. 4-8), phi = sigmoid.

    I_t = phi(q_t) sum_s phi(k_s) flows into a sink, O_s = phi(k_s) sum_t phi(q_t) out of a source. With each source's
    outflow set to one, J_t = phi(q_t) sum_s phi(k_s) / O_s flows in; with each sink's inflow, P_s = phi(k_s) sum_t
    phi(q_t) / I_t out. y_t = sigmoid(J_t) phi(q_t) / I_t sum_s phi(k_s) (softmax_s(P) v_s), softmax times the number of
    sources.

    With ``causal=True`` all sums over tokens and the softmax run over the prefix, as in the released code; I and O are
    divided by the number of tokens, which keeps their scale.

    Args:
        num_heads: heads H.
    """

    class Options(Mixer.Options):
        num_heads: int = 4

        def info(self) -> MixerInfo:
            return MixerInfo(
                reach=(None, 0 if self.causal else None), state="constant" if self.causal else "none"
            )

    options: Options

    def __init__(self, dim: int, **options: Any) -> None:
        super().__init__(dim, **options)
        o = self.options
        self.num_heads, self.head_dim, self.causal = o.num_heads, head_width(dim, o.num_heads, None), o.causal
        self.q = Linear(dim, dim, bias=False)
        self.k = Linear(dim, dim, bias=False)
        self.v = Linear(dim, dim, bias=False)
        self.out = Linear(dim, dim, bias=False)

    def _flow(self, x: Tensor, past: State, inputs: Inputs) -> FlowTerms:
        q, k, v = (split_heads(layer(x), self.num_heads) for layer in (self.q, self.k, self.v))
        wide = torch.promote_types(q.dtype, torch.float32)
        q, k = q.to(wide).sigmoid(), k.to(wide).sigmoid()
        if inputs.mask is not None:  # sigmoid of a masked token, 0, is 1/2
            real = inputs.mask[:, None, :, None]
            q, k = q * real, k * real
        if self.causal:
            return self._causal_flow(q, k, v.to(wide), past, inputs)
        number = inputs.lengths[:, None, None, None].to(wide)
        inflow = _dot(q, k.sum(2, keepdim=True))
        outflow = _dot(k, q.sum(2, keepdim=True))
        taken = _dot(q, (k / outflow).sum(2, keepdim=True))
        given = _dot(k, (q / inflow).sum(2, keepdim=True)).clamp(-1, 1)
        given = inputs.zero(given.transpose(1, 2), -torch.inf).transpose(1, 2)
        compete = torch.where(number > 0, given, 0.0).softmax(2) * number
        return FlowTerms(q / inflow, k, v.to(wide), compete, taken.sigmoid(), {})

    def _causal_flow(self, q: Tensor, k: Tensor, v: Tensor, past: State, inputs: Inputs) -> FlowTerms:
        sums = {}

        def total(name: str, x: Tensor) -> Tensor:
            running, sums[name] = scan(x.new_ones(1, 1), x, past.get(name))
            return running

        number = (inputs.index + 1)[:, None, :, None].to(q.dtype)
        inflow = _dot(q, total("k", k)) / number
        outflow = _dot(k, total("q", q)) / number
        taken = _dot(q, total("k_free", k / outflow)) / number
        given = (_dot(k, total("q_free", q / inflow)) / number).clamp(-1, 1).exp()
        given = inputs.zero(given.transpose(1, 2)).transpose(1, 2)
        running = total("given", given)
        compete = given / torch.where(running == 0, 1.0, running) * number
        return FlowTerms(q / (inflow * number), k, v, compete, taken.sigmoid(), sums)

    def _forward(self, x: Tensor, inputs: Inputs) -> Tensor:
        if x.shape[1] == 0:
            return x
        flow = self._flow(x, {}, inputs)
        y, _ = linear_attention(flow.q, flow.k, flow.v * flow.compete, causal=self.causal)
        return self._finish(y * flow.allocate)

    def _finish(self, y: Tensor) -> Tensor:
        return self.out(merge_heads(y).to(self.out.weight.dtype))

    def _init_state(self, batch_size: int, device: torch.device, dtype: torch.dtype) -> State:
        H, K = self.num_heads, self.head_dim
        wide = torch.promote_types(dtype, torch.float32)
        widths = {"k": K, "q": K, "k_free": K, "q_free": K, "given": 1}
        sums = {name: torch.zeros(batch_size, H, W, device=device, dtype=wide) for name, W in widths.items()}
        return {"sums": sums, "s": torch.zeros(batch_size, H, K, K, device=device, dtype=wide)}

    def _stream(self, x: Tensor, state: State, inputs: Inputs) -> tuple[Tensor, State]:
        if x.shape[1] == 0:
            return x, state
        flow = self._flow(x, state["sums"], inputs)
        y, s = linear_attention(flow.q, flow.k, flow.v * flow.compete, initial=state["s"])
        return self._finish(y * flow.allocate), {"sums": flow.sums, "s": s}

    def _mixing(self, x: Tensor, inputs: Inputs) -> Mixing:
        flow = self._flow(x, {}, inputs)
        matrix = flow.q @ flow.k.mT
        matrix = (matrix.tril() if self.causal else matrix) * flow.compete.mT * flow.allocate
        return Mixing(matrix, flow.v, lambda y: inputs.zero(self._finish(y)))


def _dot(x: Tensor, y: Tensor) -> Tensor:
    """Return the inner product of two flows (B, H, T, K), offset from zero: (B, H, T, 1)."""
    return ((x + EPS) * (y + EPS)).sum(-1, keepdim=True)
