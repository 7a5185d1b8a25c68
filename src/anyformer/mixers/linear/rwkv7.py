"""RWKV-7's time mixing: the generalised delta rule; optionally Meta-State's self-state encoder."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import layer_norm, normalize

from anyformer.contract import Inputs, Mixer, MixerInfo
from anyformer.layers.conv import token_shift
from anyformer.layers.heads import head_width, merge_heads, split_heads
from anyformer.layers.linear import Linear
from anyformer.mixers import register_mixer
from anyformer.ops.general_delta_rule import general_delta_rule
from anyformer.precision import widen
from anyformer.state import State

LEAST_LOG_DECAY = -0.6065306597126334
"""-exp(-1/2): the least log decay; no channel decays below 0.545 in a step."""


@register_mixer(
    "rwkv7",
    examples=[{}, {"num_heads": 2, "head_dim": 5, "rank": 3}, {"state_heads": 2}],
)
class Rwkv7(Mixer):
    """S_t = diag(w_t) S_{t-1} - kappa_t * a_t (kappa_t S_{t-1})^T + k_t v_t^T, y_t = r_t S_t (RWKV-7, 2503.14456).

    Each map reads a mix of the token and the one before (token shift). Low-rank maps give the decay
    w = exp(-exp(-1/2) sigmoid(.)), the in-context learning rate a = sigmoid(.) and the gate; kappa = k * k_k, of unit
    length, is the removal key and k * (1 + (a - 1) k_a) the replacement key. Each head is normed, then gets a bonus
    for the current token, (r * r_k k) v, then the gate.

    Args:
        num_heads: heads H.
        head_dim: width K of a head, by default dim / H.
        rank: of the low-rank maps, by default 2.5 sqrt(dim).
        state_heads: heads in which the token's features x are read out beside r, y_t = (r_t + x_t) S_t, without
            more weights (Meta-State's self-state encoder, arXiv 2504.08247).
    """

    class Options(Mixer.Options):
        num_heads: int = 4
        head_dim: int | None = None
        rank: int | None = None
        state_heads: int = 0

        def info(self) -> MixerInfo:
            self.needs_causal(True, "its decay runs along time")
            return MixerInfo(reach=(None, 0), state="constant")

    options: Options

    def __init__(self, dim: int, **options: Any) -> None:
        super().__init__(dim, **options)
        o = self.options
        self.num_heads, self.head_dim = o.num_heads, head_width(dim, o.num_heads, o.head_dim)
        if self.head_dim < 1:
            raise ValueError(f"head_dim must be at least 1, got {o.head_dim}")
        self.state_heads = o.state_heads
        if not 0 <= o.state_heads <= min(o.num_heads, dim // self.head_dim):
            most = min(o.num_heads, dim // self.head_dim)
            raise ValueError(
                f"state_heads must be at most {most}, heads of width {self.head_dim} that dim={dim} has features "
                f"for, got {o.state_heads}"
            )
        rank = max(1, round(2.5 * dim**0.5)) if o.rank is None else o.rank
        if rank < 1:
            raise ValueError(f"rank must be at least 1, got {rank}")
        inner = o.num_heads * self.head_dim
        place = torch.arange(dim) / dim
        # each map's share of the token before; initial values as in the released code, for a middle layer
        self.shift = nn.Parameter(torch.stack([1 - place ** (p / 2) for p in (0.2, 0.9, 0.7, 0.7, 0.9, 0.2)]))
        self.r = Linear(dim, inner, bias=False)
        self.k = Linear(dim, inner, bias=False)
        self.v = Linear(dim, inner, bias=False)
        self.out = Linear(inner, dim, bias=False)
        self.decay = nn.Sequential(Linear(dim, rank, bias=False), nn.Tanh(), Linear(rank, inner))
        self.rate = nn.Sequential(Linear(dim, rank, bias=False), Linear(rank, inner))
        self.gate = nn.Sequential(
            Linear(dim, rank, bias=False), nn.Sigmoid(), Linear(rank, inner, bias=False)
        )
        self.erase_scale = nn.Parameter(torch.full((inner,), 0.71))
        self.rate_share = nn.Parameter(torch.ones(inner))
        self.bonus = nn.Parameter(torch.full((o.num_heads, self.head_dim), -0.04))
        self.norm_weight = nn.Parameter(torch.ones(inner))
        self.norm_bias = nn.Parameter(torch.zeros(inner))
        with torch.no_grad():  # decays from slow to fast
            bias = self.decay[2].get_parameter("bias")
            bias.copy_(6 * (torch.arange(inner) / max(inner - 1, 1)) ** 1.8 - 5.5)

    def hints(self) -> dict[str, dict[str, Any]]:
        return {name: {"decay": False} for name in ("shift", "bonus")}

    def terms(self, x: Tensor, last: Tensor | None, inputs: Inputs) -> tuple[dict[str, Tensor], Tensor]:
        """Return the op's arguments by name, (B, H, T, K), with ``gate`` (B, T, H*K); and the last token."""
        shifted, last = token_shift(x, last, inputs.mask)
        xr, xw, xk, xv, xa, xg = (torch.lerp(x, shifted, mix) for mix in self.shift.to(x.dtype))
        r, k, v = self.r(xr), self.k(xk), self.v(xv)
        rate = self.rate(xa).sigmoid()
        wide = torch.promote_types(k.dtype, torch.float32)
        log_decay = LEAST_LOG_DECAY * self.decay(xw).to(wide).sigmoid()
        erased = split_heads(k * self.erase_scale, self.num_heads).to(wide)
        erased = normalize(erased, dim=-1, eps=1e-6)
        k = inputs.zero(k * (1 + (rate - 1) * self.rate_share))
        changed = erased * split_heads(inputs.zero(rate), self.num_heads)
        parts = {"q": r, "k": k, "v": v, "log_decay": inputs.zero(log_decay)}
        found = {name: split_heads(t, self.num_heads) for name, t in parts.items()}
        return {**found, "a": -erased, "b": changed, "gate": self.gate(xg)}, last

    def _stream(self, x: Tensor, state: State, inputs: Inputs) -> tuple[Tensor, State]:
        terms, last = self.terms(x, state.get("last"), inputs)
        gate, r = terms.pop("gate"), terms["q"]
        if self.state_heads:
            own = split_heads(x[..., : self.state_heads * self.head_dim], self.state_heads)
            terms["q"] = torch.cat((r[:, : self.state_heads] + own, r[:, self.state_heads :]), 1)
        y, s = general_delta_rule(**{**terms, "v": widen(terms["v"])}, initial=state.get("s"))
        return self.finish(y, r, terms["k"], terms["v"], gate), {"last": last, "s": s}

    def finish(self, y: Tensor, r: Tensor, k: Tensor, v: Tensor, gate: Tensor) -> Tensor:
        """Apply norm, bonus, gate and output map to y (B, H, T, K)."""
        normed = merge_heads(layer_norm(y, (self.head_dim,), eps=self.head_dim * 1e-5))
        normed = normed * self.norm_weight + self.norm_bias
        bonus = (widen(r) * k * self.bonus[:, None]).sum(-1, keepdim=True) * v
        return self.out(((normed + merge_heads(bonus)) * gate).to(gate.dtype))

    def _forward(self, x: Tensor, inputs: Inputs) -> Tensor:
        return self._stream(x, {}, inputs)[0]

    def _init_state(self, batch_size: int, device: torch.device, dtype: torch.dtype) -> State:
        wide = torch.promote_types(dtype, torch.float32)
        shape = (batch_size, self.num_heads, self.head_dim, self.head_dim)
        last = torch.zeros(batch_size, 1, self.dim, device=device, dtype=dtype)
        return {"last": last, "s": torch.zeros(shape, device=device, dtype=wide)}
