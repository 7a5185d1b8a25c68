"""Mega: gated attention with queries and keys from moving averages."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import pad, silu

from anyformer.caches import append, visibility
from anyformer.contract import Inputs, Mixer, MixerInfo, Mixing
from anyformer.layers.ema import DampedEMA
from anyformer.layers.linear import Linear, call_roomy
from anyformer.mixers import register_mixer
from anyformer.ops.attention import attention
from anyformer.positions import Scheme, create_position, require
from anyformer.precision import roomy
from anyformer.registry import nearest
from anyformer.state import State

NORMALIZERS = ("softmax", "laplace")


@register_mixer(
    "mega",
    examples=[
        {"num_averages": 3},
        {"num_averages": 3, "normalizer": "laplace", "positions": "rope"},
        {"num_averages": 3, "chunk_len": 4},
        {"num_averages": 3, "chunk_len": 4, "causal": False, "normalizer": "laplace"},
        {"num_averages": 0, "causal": False},
    ],
)
class Mega(Mixer):
    """Moving average equipped gated attention (Ma 2022, section 3), of one head.

    e = silu(EMA(x) + omega x), with EMA the damped averages of :class:`~anyformer.layers.ema.DampedEMA`.
    z = silu(e W_z), q = kappa_q z + mu_q, k = kappa_k z + mu_k, v = silu(x W_v), o = f(q k^T / tau + b) v.
    phi = sigmoid(e W_phi), gamma = silu(e W_gamma), h = silu(e W_h + (gamma o) U_h), and y = phi (h - x).

    So x + y = phi h + (1 - phi) x is the paper's output: the residual connection is part of its gate. The state is the
    averages, and the keys and values of the past, or of the current chunk only if there are chunks.

    Args:
        num_averages: averages per channel, 16 in the paper; 0 for none.
        key_dim: width K of queries and keys, by default dim / 2.
        value_factor: width V of the values over dim, 2 in the paper.
        normalizer: f: ``softmax`` with tau = sqrt(K), or ``laplace``, elementwise, with tau the number of keys that the
            query sees.
        chunk_len: attend within chunks of so many tokens, counted from the first; ``None`` for the whole sequence.
        positions: b, a position scheme by name.
    """

    class Options(Mixer.Options):
        num_averages: int = 16
        key_dim: int | None = None
        value_factor: int = 2
        normalizer: str = "softmax"
        chunk_len: int | None = None
        positions: Scheme = "t5"

        def info(self) -> MixerInfo:
            if self.chunk_len is not None and self.chunk_len < 1:
                raise ValueError(f"chunk_len must be at least 1, got {self.chunk_len}")
            facts = require("mega", self.positions)
            cost, memory, state = (
                ("n^2", "n^2", "n") if self.chunk_len is None else ("n log n", "n", "constant")
            )
            return MixerInfo(
                reach=(None, 0 if self.causal else None),
                cost=cost,
                memory=memory,
                state=state if self.causal else "none",
                max_length=facts.max_length,
            )

    options: Options

    def __init__(self, dim: int, **options: Any) -> None:
        super().__init__(dim, **options)
        o = self.options
        if o.normalizer not in NORMALIZERS:
            raise ValueError(f"unknown normalizer {o.normalizer!r}{nearest(o.normalizer, list(NORMALIZERS))}")
        K, V = max(1, dim // 2) if o.key_dim is None else o.key_dim, dim * o.value_factor
        if K < 1 or V < 1:
            raise ValueError(
                f"key_dim and value_factor must be at least 1, got {o.key_dim} and {o.value_factor}"
            )
        self.key_dim, self.value_dim, self.causal, self.chunk_len = K, V, o.causal, o.chunk_len
        self.normalizer = o.normalizer
        self.ema = DampedEMA(dim, o.num_averages, bidirectional=not o.causal) if o.num_averages else None
        self.omega = nn.Parameter(torch.randn(dim))
        self.v = Linear(dim, V)
        self.gates = Linear(dim, K + V + 2 * dim)  # projections to z, gamma, phi and the first term of h
        self.out = Linear(V, dim, bias=False)
        for layer in (self.v, self.gates, self.out):
            nn.init.normal_(layer.weight, std=0.02)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
        self.kappa = nn.Parameter(torch.randn(2, K) * 0.02)
        self.mu = nn.Parameter(torch.zeros(2, K))
        self.positions = create_position(o.positions, dim=dim, num_heads=1, head_dim=K)

    def hints(self) -> dict[str, dict[str, Any]]:
        """Return no weight decay for the averages: it would pull them to the same rate."""
        return {} if self.ema is None else {f"ema.{name}": {"decay": False} for name in ("alpha", "delta")}

    def _project(self, x: Tensor, ema: Tensor, inputs: Inputs) -> tuple[Tensor, Tensor, Tensor, list[Tensor]]:
        """Return q, k (B, 1, T, K), v (B, 1, T, V) and the arguments of :meth:`_finish`."""
        sizes = [self.key_dim, self.value_dim, self.dim, self.dim]
        z, gamma, phi, h = self.gates(silu(ema + self.omega * x)).split(sizes, -1)
        z = silu(z)[:, None]
        q, k = z * self.kappa[0] + self.mu[0], z * self.kappa[1] + self.mu[1]
        q, k = self.positions.rotate(q, k, inputs.positions)
        return q, k, silu(self.v(x))[:, None], [x, gamma, phi, h]

    def _finish(self, o: Tensor, parts: list[Tensor]) -> Tensor:
        x, gamma, phi, h = parts
        h = silu(h + call_roomy(self.out, roomy(silu(gamma)) * o[:, 0], gamma.dtype))
        return (phi.sigmoid() * (h - x)).to(phi.dtype)

    def _attend(
        self,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        q_pos: Tensor,
        k_pos: Tensor,
        *,
        causal: bool = False,
        seen: Tensor | None = None,
    ) -> Tensor:
        """Return o (B, 1, T, V). ``causal`` aligns the last query and key; ``seen`` broadcasts to (B, 1, T, S)."""
        bias = self.positions.score(q, k, q_pos, k_pos) if self.positions.scores else None
        scale, (T, S) = None, (q.shape[2], k.shape[2])
        if self.normalizer == "laplace":
            count = torch.full((1, 1), S, device=q.device)
            if causal:
                count = torch.arange(S - T + 1, S + 1, device=q.device)[:, None]
            elif seen is not None:
                count = seen.expand(*seen.shape[:-1], S).sum(-1, keepdim=True)
            q, scale = q / count.clamp_min(1), 1.0
        options: dict[str, Any] = {"bias": bias, "scale": scale, "normalizer": self.normalizer}
        return attention(q, k, v, causal=causal, visible=seen, **options)

    def _forward(self, x: Tensor, inputs: Inputs) -> Tensor:
        q, k, v, parts = self._project(x, self._averages(x), inputs)
        C, T, pos, real = self.chunk_len, x.shape[1], inputs.numbers, inputs.mask
        if C is not None and T > 0:
            q, k, v = (_chunks(t[:, 0], C)[:, None] for t in (q, k, v))
            real = torch.ones_like(inputs.index, dtype=torch.bool) if real is None else real
            real, pos = (_chunks(t[..., None], C)[..., 0] for t in (real, pos))
        if self.causal:  # masked tokens come last
            o = self._attend(q, k, v, pos, pos, causal=True)
        else:
            o = self._attend(q, k, v, pos, pos, seen=None if real is None else real[:, None, None])
        return self._finish(o.reshape(len(x), 1, -1, self.value_dim)[:, :, :T], parts)

    def _averages(self, x: Tensor) -> Tensor:
        return torch.zeros_like(x) if self.ema is None else self.ema(x)

    def _init_state(self, batch_size: int, device: torch.device, dtype: torch.dtype) -> State:
        kept = 0 if self.chunk_len is None else self.chunk_len
        cache = {
            "k": torch.zeros(batch_size, 1, kept, self.key_dim, device=device, dtype=dtype),
            "v": torch.zeros(batch_size, 1, kept, self.value_dim, device=device, dtype=dtype),
        }
        if self.positions.scores:
            number = torch.zeros(batch_size, 1, kept, 1, device=device)
            cache["position"] = number.double() if dtype == torch.float64 else number
        if self.chunk_len is None:
            cache["stored"] = torch.zeros(batch_size, dtype=torch.int64, device=device)
        averages = {} if self.ema is None else self.ema.init_state(batch_size, device, dtype)
        return {"ema": averages, "cache": cache}

    def _stream(self, x: Tensor, state: State, inputs: Inputs) -> tuple[Tensor, State]:
        if x.shape[1] == 0:
            return x, state
        ema, averages = torch.zeros_like(x), state["ema"]
        if self.ema is not None:
            ema, averages = self.ema.stream(x, averages, inputs.lengths)
        q, k, v, parts = self._project(x, ema, inputs)
        new = {"k": k, "v": v}
        if self.positions.scores:
            new["position"] = inputs.numbers[:, None, :, None]
        if self.chunk_len is None:
            keys, cache = append(state["cache"], new, inputs)
            pos = keys["position"][:, 0, :, 0] if self.positions.scores else keys["k"][:, 0, :, 0]
            sees = visibility(keys, inputs)
            o = self._attend(
                q,
                keys["k"],
                keys["v"],
                inputs.numbers,
                pos,
                causal="causal" in sees,
                seen=sees.get("visible"),
            )
        else:
            o, cache = self._stream_chunks(q, new, state["cache"], inputs)
        return self._finish(o, parts), {"ema": averages, "cache": cache}

    def _stream_chunks(self, q: Tensor, new: State, cache: State, inputs: Inputs) -> tuple[Tensor, State]:
        """Append each sample's tokens to those of its open chunk, whose slots are kept whether filled or not."""
        C, T, pos = self.chunk_len, q.shape[2], inputs.numbers
        assert C is not None
        place = inputs.index[:, :1] % C + torch.arange(T, device=q.device)  # (B, T)
        width = C * (1 + -(-(C - 1 + T) // C))  # one more chunk, which may be the open one afterwards
        keys = {name: _put(t, place, pad(cache[name], (0, 0, 0, width - C))) for name, t in new.items()}
        k, v, k_pos = keys["k"], keys["v"], keys.get("position", keys["k"][..., :1])
        if T < C:
            slot = torch.arange(width, device=q.device)
            seen = (place[..., None] >= slot) & (place[..., None] // C == slot // C)
            o = self._attend(q, k, v, pos, k_pos[:, 0, :, 0], seen=seen[:, None])
        else:
            placed = (
                _put(t, place, t.new_zeros(*t.shape[:2], width, t.shape[3]))
                for t in (q, pos[:, None, :, None])
            )
            q, q_pos, k, v, k_pos = (_chunks(t[:, 0], C)[:, None] for t in (*placed, k, v, k_pos))
            o = self._attend(q, k, v, q_pos[:, 0, :, 0], k_pos[:, 0, :, 0], causal=True)
            o = o.reshape(len(place), 1, width, -1).gather(2, _as_index(place, self.value_dim))
        start = (inputs.index[:, :1] % C + inputs.lengths[:, None]) // C * C
        slots = start + torch.arange(C, device=q.device)
        return o, {name: t.gather(2, _as_index(slots, t.shape[3])) for name, t in keys.items()}

    def _mixing(self, x: Tensor, inputs: Inputs) -> Mixing:
        q, k, v, parts = self._project(x, self._averages(x), inputs)
        B, T = inputs.index.shape
        seen = torch.ones(T, T, dtype=torch.bool, device=x.device)
        seen = (seen.tril() if self.causal else seen)[None, None]
        if inputs.mask is not None:
            seen = seen & inputs.mask[:, None, None]
        if self.chunk_len is not None:
            chunk = inputs.index // self.chunk_len
            seen = seen & (chunk[:, None, :, None] == chunk[:, None, None])
        eye = torch.eye(T, device=x.device, dtype=x.dtype).expand(B, 1, -1, -1)
        matrix = self._attend(q, k, eye, inputs.numbers, inputs.numbers, seen=seen)
        return Mixing(matrix, v, lambda o: inputs.zero(self._finish(o, parts)))


def _chunks(x: Tensor, size: int) -> Tensor:
    """Reshape (B, T, N) to (B * chunks, size, N), the last chunk padded with zeros."""
    x = pad(x, (0, 0, 0, -x.shape[1] % size))
    return x.reshape(-1, size, x.shape[2])


def _as_index(place: Tensor, width: int) -> Tensor:
    """Expand (B, T) to (B, 1, T, width)."""
    return place[:, None, :, None].expand(-1, 1, -1, width)


def _put(new: Tensor, place: Tensor, into: Tensor) -> Tensor:
    """Return ``into`` (B, 1, S, N) with ``new`` (B, 1, T, N) at slots ``place`` (B, T)."""
    return into.scatter(2, _as_index(place, new.shape[3]), new.to(into.dtype))
