"""Softmax attention over keys and values of the same sequence."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from anyformer.caches import Cache, append, sight
from anyformer.contract import Inputs, Mixer, MixerInfo, Mixing
from anyformer.layers.linear import Linear
from anyformer.layers.norms import RMSNorm
from anyformer.mixers import register_mixer
from anyformer.ops.attention import Weigh, attention
from anyformer.ops.masks import Window
from anyformer.ops.sparse_attention import sparse_attention
from anyformer.positions import Scheme, create_position, require
from anyformer.state import State


def head_width(dim: int, num_heads: int, head_dim: int | None) -> int:
    """``head_dim``, or the width that ``num_heads`` heads share; ``ValueError`` where they cannot."""
    if num_heads < 1:
        raise ValueError(f"num_heads must be at least 1, got {num_heads}")
    if head_dim is None and dim % num_heads:
        raise ValueError(f"num_heads must divide dim={dim} (or give head_dim), got {num_heads}")
    return dim // num_heads if head_dim is None else head_dim


def split_heads(x: Tensor, num_heads: int) -> Tensor:
    """(B, T, H*K) to (B, H, T, K)."""
    B, T, width = x.shape
    return x.view(B, T, num_heads, width // num_heads).transpose(1, 2)


def merge_heads(x: Tensor) -> Tensor:
    """(B, H, T, V) to (B, T, H*V)."""
    return x.transpose(1, 2).flatten(2)


@register_mixer(
    "attention",
    papers=["transformer", "mqa", "gqa", "cross-layer-attention"],
    examples=[
        {},
        {"num_kv_heads": 1, "positions": "alibi"},
        {"num_kv_heads": 2, "positions": "none", "causal": False},
        {"window": 5, "qk_norm": True},
        {"window": 3, "causal": False, "positions": "alibi"},
    ],
)
class Attention(Mixer):
    """Scaled dot-product attention with any number of key/value heads (Vaswani 2017; Ainslie 2023 for groups).

    Args:
        num_heads: query heads H.
        num_kv_heads: key/value heads G, a divisor of H: H is multi-head, 1 multi-query, between is grouped.
        head_dim: width of a head, by default dim / num_heads.
        positions: a position scheme by name, or a dict with ``name`` and its options; one that is not added to the
            input.
        window: see only the last ``window`` tokens, oneself included (bidirectional: as many to each side).
        provides_kv, reuses_kv: a name under which this layer leaves its keys and values to later layers, or whose
            keys and values it uses instead of having its own (cross-layer attention, Brandon 2024).
        qk_norm: RMS-normalise queries and keys per head.
        bias: biases on the projections.

    The side input ``part`` (B, T) int64 says which member of a set a token belongs to, 0 = none: tokens of different
    members do not see each other (see :func:`anyformer.positions.sets.set_prompt`).
    """

    def __init__(
        self,
        dim: int,
        *,
        num_heads: int = 4,
        num_kv_heads: int | None = None,
        head_dim: int | None = None,
        positions: Scheme = "rope",
        causal: bool = True,
        window: int | None = None,
        provides_kv: str | None = None,
        reuses_kv: str | None = None,
        qk_norm: bool = False,
        bias: bool = False,
    ) -> None:
        super().__init__(
            dim,
            positions=positions,
            causal=causal,
            window=window,
            provides_kv=provides_kv,
            reuses_kv=reuses_kv,
        )
        K = head_width(dim, num_heads, head_dim)
        G = num_heads if num_kv_heads is None else num_kv_heads
        if G < 1 or num_heads % G:
            raise ValueError(f"num_kv_heads must divide num_heads={num_heads}, got {G}")
        self.num_heads, self.num_kv_heads, self.head_dim = num_heads, G, K
        self.causal, self.window = causal, window
        self.provides_kv, self.reuses_kv = provides_kv, reuses_kv
        self.positions = create_position(positions, dim=dim, num_heads=num_heads, head_dim=K)
        self.q = Linear(dim, num_heads * K, bias=bias)
        if reuses_kv is None:
            self.k = Linear(dim, G * K, bias=bias)
            self.v = Linear(dim, G * K, bias=bias)
        self.out = Linear(num_heads * K, dim, bias=bias)
        self.q_norm = RMSNorm(K, eps=1e-6) if qk_norm else nn.Identity()
        self.k_norm = RMSNorm(K, eps=1e-6) if qk_norm and reuses_kv is None else nn.Identity()

    @classmethod
    def describe(
        cls,
        *,
        positions: Scheme = "rope",
        causal: bool = True,
        window: int | None = None,
        provides_kv: str | None = None,
        reuses_kv: str | None = None,
        **_: Any,
    ) -> MixerInfo:
        if window is not None and window < 1:
            raise ValueError(f"window must be at least 1, got {window}")
        if reuses_kv is not None and (window is not None or provides_kv is not None):
            raise ValueError("reuses_kv goes with neither window nor provides_kv")
        facts = require("attention", positions, "infuses", "weighs", "numbers")
        if window is not None and facts.weighs:
            raise ValueError(f"window must be None with positions={positions!r}, which change the weights")
        if causal and not facts.streams:
            raise ValueError(
                f"causal must be False with positions={positions!r}: a token's number depends on later tokens"
            )
        past = None if window is None else window - 1
        state = "none" if reuses_kv or not causal else "n" if window is None else "constant"
        cost = "n^2" if window is None else "n"
        return MixerInfo(
            reach=(past, 0 if causal else past),
            cost=cost,
            memory=cost,
            state=state,
            side=("part",),
            max_length=facts.max_length,
            exceptions={"modes": "positions are drawn in training"} if facts.draws else {},
        )

    def _project(self, x: Tensor, inputs: Inputs) -> tuple[Tensor, Cache]:
        pos = inputs.positions
        placed = self.positions.infuse(x, pos)
        q = self.q_norm(split_heads(self.q(placed), self.num_heads))
        if self.reuses_kv is not None:
            return self.positions.rotate(q, q, pos)[0], {}
        k = self.k_norm(split_heads(self.k(placed), self.num_kv_heads))
        q, k = self.positions.rotate(q, k, pos)
        new = {"k": k, "v": split_heads(self.v(x), self.num_kv_heads)}
        if self.positions.scores or self.positions.weighs:
            number = pos if pos.dim() == 2 else pos[..., 0]  # only schemes of one axis look at it again
            new["position"] = number[:, None, :, None]
        if "part" in inputs.call.side:
            new["part"] = _part(inputs)
        return q, new

    def _numbered(self, inputs: Inputs, streaming: bool = False) -> Inputs:
        """With the positions that the scheme numbers tokens by."""
        if not self.positions.numbers:
            return inputs
        return inputs.replace(positions=self.positions.ids(inputs, streaming))

    def _forward(self, x: Tensor, inputs: Inputs) -> Tensor:
        inputs = self._numbered(inputs)
        q, new = self._project(x, inputs)
        keys = self._shared(new, inputs)
        return self.out(merge_heads(self._attend_whole(q, keys, inputs)))

    def _attend_whole(self, q: Tensor, keys: Cache, inputs: Inputs) -> Tensor:
        k, v, places = keys["k"], keys["v"], self._places(keys, inputs)
        if self.window is not None and q.shape[2] > self.window and "part" not in keys:
            spec = Window(self.window - 1, 0 if self.causal else self.window - 1)
            index = None if inputs.mask is None else inputs.zero(inputs.index + 1) - 1
            pos = inputs.positions
            score = self._tile_score if self.positions.scores and places is None else None
            return sparse_attention(
                q,
                k,
                v,
                spec,
                q_index=index,
                k_index=index,
                q_pos=pos,
                k_pos=pos,
                score=score,
                places=places,
            )
        bias = self._bias(q, keys, inputs) if self.positions.scores and places is None else None
        more: dict[str, Any] = {"bias": bias, "places": places, "weigh": self._weigh(keys, inputs)}
        if self.causal and "part" not in keys:  # masked tokens come last
            return attention(q, k, v, causal=True, **more)
        return attention(q, k, v, visible=self._seen(keys, inputs), **more)

    def _places(self, keys: Cache, inputs: Inputs) -> tuple[Tensor, Tensor] | None:
        if not self.positions.scores:
            return None
        mine = self.positions.places(inputs.positions)
        theirs = self.positions.places(keys["position"][:, 0, :, 0])
        return None if mine is None or theirs is None else (mine, theirs)

    def _seen(self, keys: Cache, inputs: Inputs) -> Tensor | None:
        """(B, 1, T, T) bool, or what broadcasts to it: which tokens of this call see each other, ``None`` = all."""
        seen = None if inputs.mask is None else inputs.mask[:, None, None, :]
        if self.causal or self.window is not None:
            age = inputs.index[:, None, :, None] - inputs.index[:, None, None, :]
            near = age >= 0 if self.causal else torch.ones_like(age, dtype=torch.bool)
            near = near if self.window is None else near & (age.abs() < self.window)
            seen = near if seen is None else seen & near
        return _among(seen, keys, inputs)

    def _bias(self, q: Tensor, keys: Cache, inputs: Inputs) -> Tensor | None:
        k = keys["k"].repeat_interleave(self.num_heads // self.num_kv_heads, 1)
        return self.positions.score(q, k, inputs.positions, keys["position"][:, 0, :, 0])

    def _weigh(self, keys: Cache, inputs: Inputs) -> Weigh | None:
        if not self.positions.weighs:
            return None
        q_pos, k_pos = inputs.positions, keys["position"][:, 0, :, 0]

        def weigh(p: Tensor, start: int) -> tuple[Tensor, Tensor | None]:
            return self.positions.weigh(p, q_pos[:, start : start + p.shape[2]], k_pos[:, : p.shape[3]])

        return weigh

    def _tile_score(self, s: Tensor, q: Tensor, k: Tensor, q_pos: Tensor, k_pos: Tensor) -> Tensor:
        bias = self.positions.score(
            q, k.repeat_interleave(self.num_heads // self.num_kv_heads, 1), q_pos, k_pos
        )
        return s if bias is None else s + bias

    def _init_state(self, batch_size: int, device: torch.device, dtype: torch.dtype) -> State:
        if self.reuses_kv is not None:
            return {}
        shape = (batch_size, self.num_kv_heads, 0, self.head_dim)
        empty = torch.zeros(shape, device=device, dtype=dtype)
        state = {"k": empty, "v": empty, "stored": torch.zeros(batch_size, dtype=torch.int64, device=device)}
        if self.positions.scores or self.positions.weighs:
            number = torch.zeros(batch_size, 1, 0, 1, device=device)
            state["position"] = number.double() if dtype == torch.float64 else number
        return state

    def _stream(self, x: Tensor, state: State, inputs: Inputs) -> tuple[Tensor, State]:
        inputs = self._numbered(inputs, streaming=True)
        q, new = self._project(x, inputs)
        if "part" in new and "part" not in state:  # kept from the first time that there is one
            B, S = state["k"].shape[0], state["k"].shape[2]
            state = {**state, "part": inputs.index.new_zeros(B, 1, S, 1)}
        elif "part" in state and "part" not in new:
            new["part"] = _part(inputs)
        both, kept = state, state
        if self.reuses_kv is None:
            limit = None if self.window is None else self.window - 1
            both, kept = append(state, new, inputs, limit)
        keys = self._shared(both, inputs)
        bias = self._bias(q, keys, inputs) if self.positions.scores else None
        weigh, seen = self._weigh(keys, inputs), sight(keys, inputs, self.window)
        if "part" in keys:
            seen = sight(keys, inputs, self.window, always=True)
            seen = {"visible": _among(seen["visible"], keys, inputs)} if seen else {}
        y = attention(q, keys["k"], keys["v"], bias=bias, weigh=weigh, **seen)
        return self.out(merge_heads(y)), kept

    def _shared(self, keys: Cache, inputs: Inputs) -> Cache:
        """The keys to look at: one's own, left to later layers where asked, or an earlier layer's."""
        shared = inputs.call.shared
        if self.provides_kv is not None:
            shared[f"kv:{self.provides_kv}"] = keys
        if self.reuses_kv is None:
            return keys
        if f"kv:{self.reuses_kv}" not in shared:
            raise ValueError(
                f"reuses_kv={self.reuses_kv!r} needs an earlier layer with provides_kv={self.reuses_kv!r} "
                "in the same model"
            )
        keys = shared[f"kv:{self.reuses_kv}"]
        if keys["k"].shape[1] != self.num_kv_heads or keys["k"].shape[3] != self.head_dim:
            raise ValueError(
                f"reuses_kv={self.reuses_kv!r}: the heads differ; expected {self.num_kv_heads} of width "
                f"{self.head_dim}, got {keys['k'].shape[1]} of width {keys['k'].shape[3]}"
            )
        return keys

    def _mixing(self, x: Tensor, inputs: Inputs) -> Mixing:
        inputs = self._numbered(inputs)
        q, new = self._project(x, inputs)
        keys = self._shared(new, inputs)
        k, v = (t.repeat_interleave(self.num_heads // t.shape[1], 1) for t in (keys["k"], keys["v"]))
        bias = self._bias(q, keys, inputs) if self.positions.scores else None
        one_hot = torch.eye(k.shape[2], device=x.device, dtype=x.dtype).expand(*k.shape[:3], -1)
        matrix = attention(q, k, one_hot, visible=self._seen(keys, inputs), bias=bias)
        weigh, more = self._weigh(keys, inputs), None
        if weigh is not None:
            matrix, more = weigh(matrix, 0)
        return Mixing(
            matrix, v, lambda y: inputs.zero(self.out(merge_heads(y if more is None else y + more)))
        )


def _part(inputs: Inputs) -> Tensor:
    """(B, 1, T, 1) int64: the member of a set that each token belongs to, 0 = none."""
    part = inputs.call.side.get("part")
    part = torch.zeros_like(inputs.index) if part is None else part
    return part[:, None, :, None]


def _among(seen: Tensor | None, keys: Cache, inputs: Inputs) -> Tensor | None:
    """What is seen, less the other members of a set where there is one."""
    if "part" not in keys:
        return seen
    mine, other = _part(inputs), keys["part"].mT
    among = (mine == 0) | (other == 0) | (mine == other)
    return among if seen is None else among & seen
