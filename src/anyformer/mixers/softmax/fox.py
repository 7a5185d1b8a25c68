"""Forgetting attention: softmax attention whose scores decay by data-dependent gates."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid, pad

from anyformer.caches import append, empty_cache, visibility
from anyformer.contract import Inputs, Mixer, MixerInfo, Mixing
from anyformer.layers.conv import token_shift
from anyformer.layers.heads import head_width, merge_heads, split_heads
from anyformer.layers.linear import Linear
from anyformer.layers.norms.rms_norm import RMSNorm
from anyformer.mixers import register_mixer
from anyformer.ops.attention import attention, can_attend, recomputed
from anyformer.precision import exact
from anyformer.state import State

BLOCK = 512
"""Queries per block; memory is linear in the length beyond it."""


@register_mixer("fox", examples=[{}, {"pro": True}])
class ForgettingAttention(Mixer):
    """Softmax attention whose scores decay by a forget gate of each token (Lin 2025, section 3).

    s_ij = q_i k_j / sqrt(K) + log f_{j+1} + ... + log f_i.

    f_t = sigmoid(w x_t + b) is one forget gate per head. There are no other positions, as in the paper. The running
    sum of the log gates is kept in float64 (if the device supports it), so that differences stay accurate at any
    length.

    Args:
        num_heads: heads H.
        pro: the Pro block's additions (section 3.3): keys and values are mixed with those of the token before, by a
            data-dependent share per head; queries, keys and the output are RMS-normalised per head, and a sigmoid
            gates the output.
    """

    class Options(Mixer.Options):
        num_heads: int = 4
        pro: bool = False

        def info(self) -> MixerInfo:
            self.needs_causal(True, "its gates run along time")
            return MixerInfo(reach=(None, 0), cost="n^2", memory="n", state="n")

    options: Options

    def __init__(self, dim: int, **options: Any) -> None:
        super().__init__(dim, **options)
        o = self.options
        self.num_heads, self.head_dim = o.num_heads, head_width(dim, o.num_heads, None)
        self.qkv = Linear(dim, 3 * dim, bias=False)
        self.forget = Linear(dim, o.num_heads)
        nn.init.zeros_(self.forget.bias)
        self.out = Linear(dim, dim, bias=False)
        self.pro = o.pro
        if o.pro:
            self.shift = Linear(dim, 2 * o.num_heads, bias=False)
            self.gate = Linear(dim, dim, bias=False)
            self.norm = RMSNorm(self.head_dim, eps=1e-6, elementwise_affine=False)
            self.scales = nn.Parameter(torch.ones(3, o.num_heads, 1, self.head_dim))  # of q, k and the output

    def _project(
        self, x: Tensor, inputs: Inputs, last: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor | None]:
        """Return q, k, v (B, H, T, K), the running sum of the log gates (B, T, H), and the state of the token shift."""
        log_forget = logsigmoid(exact(self.forget(x)))
        q, kv = self.qkv(x).split([self.dim, 2 * self.dim], -1)
        if self.pro:
            share = self.shift(x).sigmoid().repeat_interleave(self.head_dim, -1)
            before, last = token_shift(kv, last, inputs.mask)
            kv = kv + share * (before - kv)
        q, k, v = (split_heads(t, self.num_heads) for t in (q, *kv.chunk(2, -1)))
        if self.pro:
            q, k = self.norm(q) * self.scales[0], self.norm(k) * self.scales[1]
        return q, k, v, inputs.zero(log_forget).cumsum(1), last

    def _finish(self, y: Tensor, x: Tensor) -> Tensor:
        if not self.pro:
            return self.out(merge_heads(y))
        return self.out(merge_heads(self.norm(y) * self.scales[2]) * self.gate(x).sigmoid())

    def _forward(self, x: Tensor, inputs: Inputs) -> Tensor:
        q, k, v, log_sum, _ = self._project(x, inputs)
        T = x.shape[1]
        if can_attend(q, k, v):
            places = log_sum.transpose(1, 2)
            return self._finish(attention(q, k, v, causal=True, places=(places, places)), x)
        if T <= BLOCK:
            return self._finish(_attend(q, k, v, log_sum), x)
        blocks = [
            recomputed(_attend, queries, k[:, :, :stop], v[:, :, :stop], log_sum[:, :stop])
            for queries, stop in zip(q.split(BLOCK, 2), [*range(BLOCK, T, BLOCK), T], strict=True)
        ]
        return self._finish(torch.cat(blocks, 2), x)

    def _init_state(self, batch_size: int, device: torch.device, dtype: torch.dtype) -> State:
        H = self.num_heads
        log_sum = exact(torch.zeros(batch_size, 1, H, device=device))
        cache = empty_cache((batch_size, H, self.head_dim), device, dtype)
        cache["log_sum"] = log_sum[:, None, :0]
        state = {"cache": cache, "log_sum": log_sum}
        if self.pro:
            state["last"] = torch.zeros(batch_size, 1, 2 * self.dim, device=device, dtype=dtype)
        return state

    def _stream(self, x: Tensor, state: State, inputs: Inputs) -> tuple[Tensor, State]:
        q, k, v, log_sum, shifted = self._project(x, inputs, state.get("last"))
        log_sum = torch.cat([state["log_sum"], log_sum + state["log_sum"]], 1)
        last, log_sum = log_sum[:, -1:], log_sum[:, 1:]
        tokens = {"k": k, "v": v, "log_sum": log_sum[:, None]}
        both, kept = append(state["cache"], tokens, inputs)
        bias = _difference(log_sum, both["log_sum"][:, 0]).to(x.dtype)
        y = attention(q, both["k"], both["v"], bias=bias, **visibility(both, inputs))
        new = {"cache": kept, "log_sum": last}
        return self._finish(y, x), new if shifted is None else {**new, "last": shifted}

    def _mixing(self, x: Tensor, inputs: Inputs) -> Mixing:
        q, k, v, log_sum, _ = self._project(x, inputs)
        one_hot = torch.eye(x.shape[1], device=x.device, dtype=x.dtype).expand(*k.shape[:3], -1)
        matrix = attention(q, k, one_hot, causal=True, bias=_difference(log_sum, log_sum).to(x.dtype))
        return Mixing(matrix, v, lambda y: inputs.zero(self._finish(y, x)))


def _difference(q_sum: Tensor, k_sum: Tensor) -> Tensor:
    """Return the sums of log gates between key and query, (B, H, T, S); undefined where the key is later."""
    return (q_sum[:, :, None] - k_sum[:, None]).permute(0, 3, 1, 2)


def _attend(q: Tensor, k: Tensor, v: Tensor, log_sum: Tensor) -> Tensor:
    """Attend from the last queries to all keys, with log_sum (B, S, H), where there is no native kernel.

    Two more channels of q and k, [log_sum_i, 1] and [1, -log_sum_j], add log_sum_i - log_sum_j to their product, so
    that PyTorch's fused kernel can run. The sums are shifted to be near zero around these queries, where precision
    matters: keys far away have large terms, but almost no weight.
    """
    T, K, wide = q.shape[2], q.shape[3], torch.promote_types(q.dtype, torch.float32)
    middle = log_sum[:, -((T + 1) // 2) :][:, :1].detach()
    near = (log_sum - middle).to(wide).transpose(1, 2)[..., None]
    one = torch.ones_like(near)
    with torch.autocast(q.device.type, enabled=False):
        queries = torch.cat([q.to(wide) * K**-0.5, near[:, :, -T:], one[:, :, -T:]], -1)
        keys = torch.cat([k.to(wide), one, -near], -1)
        # values padded to the width of keys, which fused kernels need
        y = attention(queries, keys, pad(v.to(wide), (0, 2)), causal=True, scale=1.0)
    return y[..., :K].to(v.dtype)
