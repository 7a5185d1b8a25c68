"""Softmax attention over keys and values of the same sequence."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from anyformer.caches import Cache, append, empty_cache, visibility
from anyformer.contract import Inputs, Mixer, MixerInfo, Mixing, SideInput
from anyformer.layers.conv import ShortConv, head_conv
from anyformer.layers.heads import head_width, key_heads, merge_heads, split_heads
from anyformer.layers.linear import Linear
from anyformer.layers.norms.rms_norm import RMSNorm
from anyformer.mixers import register_mixer
from anyformer.mixers.softmax._members import among, member_of
from anyformer.ops.attention import Weigh, attention, merge
from anyformer.ops.masks import Window
from anyformer.ops.sparse_attention import sparse_attention
from anyformer.positions import Scheme, create_position, require
from anyformer.registry import nearest
from anyformer.state import State

Part = tuple[Tensor, Tensor]
"""Partial attention: outputs and log-sum-exps, for :func:`~anyformer.ops.attention.merge`."""


NORMALIZERS = ("softmax", "sigmoid")


class _Projected(NamedTuple):
    """Projections of a call's tokens."""

    q: Tensor  # (B, H, T, K)
    new: Cache  # their own keys and values
    recalled: Part | None  # attention over the learned memories
    conv: dict[str, Tensor]  # state of the convolutions


@register_mixer(
    "attention",
    examples=[
        {},
        {"num_kv_heads": 1, "positions": "alibi"},
        {"num_kv_heads": 2, "positions": "none", "causal": False},
        {"window": 5, "qk_norm": True},
        {"window": 3, "causal": False, "positions": "alibi"},
        {"normalizer": "sigmoid", "positions": "alibi"},
        {"normalizer": "sigmoid", "normalizer_length": 8, "causal": False, "qk_norm": True},
        {"num_memories": 3, "num_kv_heads": 2},
        {"num_memories": 3, "window": 5, "positions": "t5"},
        {"num_memories": 3, "causal": False},
        {"conv_width": 3, "num_kv_heads": 2},
    ],
)
class Attention(Mixer):
    """Scaled dot-product attention with any number of key/value heads (Vaswani 2017; Ainslie 2023 for groups).

    Args:
        num_heads: query heads H.
        num_kv_heads: key/value heads G, a divisor of H: H is multi-head, 1 multi-query, between is grouped.
        head_dim: width of a head, by default dim / num_heads.
        positions: a position scheme by name, or a dict with ``name`` and its options; not one that is added to the
            input.
        window: see only the last ``window`` tokens, the token included (bidirectional: as many to each side).
        provides_kv, reuses_kv: a name under which this layer shares its keys and values with later layers, or under
            which it finds those that it uses instead of its own (cross-layer attention, Brandon 2024).
        qk_norm: RMS-normalise queries and keys per head.
        normalizer: ``softmax``, or ``sigmoid``: each weight is sigmoid(score - log n) (Ramapuram 2024), so that the
            weights sum to about one for small scores.
        normalizer_length: this n; by default the number of keys that the query sees.
        num_memories: learned keys and values for each key/value head, beside those of the tokens and under the same
            softmax, at no position (Sukhbaatar 2019).
        conv_width: taps of a causal depthwise convolution after the projections to queries, keys and values, shared
            by heads (So 2021); 0 for none.
        bias: biases on the projections.

    The side input ``part`` (B, T) int64 is the member of a set that a token belongs to, 0 = none: tokens of different
    members do not see each other (see :func:`anyformer.positions.set_prompt`). With it a window is computed with the
    scores of all pairs, at a cost of n^2.
    """

    class Options(Mixer.Options):
        num_heads: int = 4
        num_kv_heads: int | None = None
        head_dim: int | None = None
        positions: Scheme = "rope"
        window: int | None = None
        provides_kv: str | None = None
        reuses_kv: str | None = None
        qk_norm: bool = False
        normalizer: str = "softmax"
        normalizer_length: int | None = None
        num_memories: int = 0
        conv_width: int = 0
        bias: bool = False

        def info(self) -> MixerInfo:
            window = self.window
            if window is not None and window < 1:
                raise ValueError(f"window must be at least 1, got {window}")
            plain = window is None and self.provides_kv is None and not self.conv_width
            if self.reuses_kv is not None and not plain:
                raise ValueError("reuses_kv goes with neither window, provides_kv nor conv_width")
            if self.conv_width and not self.causal:
                raise ValueError(f"conv_width must be 0 with causal=False, got {self.conv_width}")
            facts = require("attention", self.positions, "infuses", "weighs", "numbers")
            _check_normalizer(self.normalizer, self.normalizer_length, window, self.num_memories)
            if self.num_memories < 0 or (self.num_memories and facts.weighs):
                raise ValueError(
                    "num_memories must not be negative, and 0 with positions that change weights; "
                    f"got {self.num_memories}"
                )
            if window is not None and facts.weighs:
                raise ValueError(
                    f"window must be None with positions={self.positions!r}, which change the weights"
                )
            if self.causal and not facts.streams:
                raise ValueError(
                    f"causal must be False with positions={self.positions!r}: a token's number depends on later tokens"
                )
            past = None if window is None else window - 1 + max(0, self.conv_width - 1)
            state = "none" if self.reuses_kv or not self.causal else "n" if window is None else "constant"
            cost = "n^2" if window is None else "n"
            return MixerInfo(
                reach=(past, 0 if self.causal else past),
                cost=cost,
                memory=cost,
                state=state,
                side={"part": SideInput()},
                max_length=facts.max_length,
                exceptions={"modes": "positions are drawn in training"} if facts.draws else {},
            )

    options: Options

    def __init__(self, dim: int, **options: Any) -> None:
        super().__init__(dim, **options)
        o = self.options
        K, G = head_width(dim, o.num_heads, o.head_dim), self._projected_heads()
        self.num_heads, self.num_kv_heads, self.head_dim = o.num_heads, G, K
        self.causal, self.window = o.causal, o.window
        self.provides_kv, self.reuses_kv = o.provides_kv, o.reuses_kv
        self.positions = create_position(o.positions, dim=dim, num_heads=o.num_heads, head_dim=K)
        self.q = Linear(dim, o.num_heads * K, bias=o.bias)
        if o.reuses_kv is None:
            self.k, self.v = (Linear(dim, G * K, bias=o.bias) for _ in range(2))
        self.out = Linear(o.num_heads * K, dim, bias=o.bias)
        self.q_norm = RMSNorm(K, eps=1e-6) if o.qk_norm else None
        self.k_norm = RMSNorm(K, eps=1e-6) if o.qk_norm and o.reuses_kv is None else None
        self.normalizer, self.normalizer_length = o.normalizer, o.normalizer_length
        self.num_memories, self.conv_width = o.num_memories, o.conv_width
        if o.num_memories:  # small initial values, so that they learn faster
            self.memory_k = nn.Parameter(torch.randn(G, o.num_memories, K) * K**-0.5)
            self.memory_v = nn.Parameter(torch.randn(G, o.num_memories, K) * o.num_memories**-0.5)
        heads = {"q": o.num_heads, "k": G, "v": G} if o.conv_width else {}
        self.convs = nn.ModuleDict({name: head_conv(n, K, o.conv_width) for name, n in heads.items()})

    def example_side(self, batch_size: int, length: int, generator: torch.Generator) -> dict[str, Tensor]:
        if "part" not in self.info.side:
            return {}
        return {"part": torch.randint(3, (batch_size, length), generator=generator)}

    def _projected_heads(self) -> int:
        """The number of key/value heads that are projected."""
        return key_heads(self.options.num_heads, self.options.num_kv_heads)

    def _project(self, x: Tensor, state: State, inputs: Inputs) -> _Projected:
        positions, pos, conv = self.positions, inputs.positions, {}

        def heads(name: str, y: Tensor, num_heads: int, norm: RMSNorm | None = None) -> Tensor:
            if self.conv_width:
                y, conv[name] = self.convs[name](y, state.get(f"conv {name}"), inputs.mask)
            y = split_heads(y, num_heads)
            return y if norm is None else norm(y)

        placed = positions.infuse(x, pos)
        q = heads("q", self.q(placed), self.num_heads, self.q_norm)
        recalled = self._recall(q)
        if self.reuses_kv is not None:
            return _Projected(positions.rotate(q, q, pos)[0], {}, recalled, conv)
        k = heads("k", self.k(placed), self.num_kv_heads, self.k_norm)
        q, k = positions.rotate(q, k, pos)
        new = {"k": k, "v": heads("v", self.v(x), self.num_kv_heads)}
        if positions.scores or positions.weighs:
            new["position"] = inputs.numbers[:, None, :, None]  # only schemes of one axis use it again
        if "part" in inputs.call.side:
            new["part"] = member_of(inputs)
        return _Projected(q, new, recalled, conv)

    def _recall(self, q: Tensor) -> Part | None:
        """Attend to the memories, which have no positions, by queries before rotation."""
        if self.num_memories == 0:
            return None
        scales = (self.head_dim**0.5, self.num_memories**0.5)
        k, v = (
            (memory * scale).expand(len(q), -1, -1, -1)
            for memory, scale in zip((self.memory_k, self.memory_v), scales)
        )
        part: Part = attention(q, k, v, return_lse=True)
        return part

    def _finish(self, y: Tensor | Part, recalled: Part | None) -> Tensor:
        if recalled is not None:
            assert isinstance(y, tuple)
            y = merge([y, recalled])[0]
        assert isinstance(y, Tensor)
        return self.out(merge_heads(y))

    def _numbered(self, inputs: Inputs, streaming: bool = False) -> Inputs:
        """Return the inputs with the positions that the scheme assigns."""
        if not self.positions.numbers:
            return inputs
        return inputs.replace(positions=self.positions.ids(inputs, streaming))

    def _forward(self, x: Tensor, inputs: Inputs) -> Tensor:
        inputs = self._numbered(inputs)
        q, new, recalled, _ = self._project(x, {}, inputs)
        return self._finish(self._attend_whole(q, self._shared(new, inputs), inputs), recalled)

    def _attend_whole(self, q: Tensor, keys: Cache, inputs: Inputs) -> Any:
        """Return y (B, H, T, K), or (y, log-sum-exp) where memories are to be merged."""
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
                return_lse=self.num_memories > 0,
            )
        bias = self._bias(q, keys, inputs) if self.positions.scores and places is None else None
        more: dict[str, Any] = {"places": places, "weigh": self._weigh(keys, inputs)}
        if self.causal and "part" not in keys:  # masked tokens come last
            return self._attend(q, keys, inputs, bias, causal=True, **more)
        return self._attend(q, keys, inputs, bias, visible=self._seen(keys, inputs), **more)

    def _attend(self, q: Tensor, keys: Cache, inputs: Inputs, bias: Tensor | None, **more: Any) -> Any:
        """Attend by the op with the arguments of the options; ``more`` are further arguments."""
        if self.normalizer == "sigmoid":
            level = -self._count(keys, inputs, more.get("visible")).to(q.dtype).log()
            bias = level if bias is None else bias + level
        return attention(
            q,
            keys["k"],
            keys["v"],
            bias=bias,
            normalizer=self.normalizer,
            return_lse=self.num_memories > 0,
            **more,
        )

    def _count(self, keys: Cache, inputs: Inputs, visible: Tensor | None) -> Tensor:
        """Return the n of the sigmoid's log n, at least 1, broadcastable to (B, 1, T, 1)."""
        if self.normalizer_length is not None:
            return inputs.index.new_full((1, 1, 1, 1), self.normalizer_length)
        if "part" in keys and visible is not None:
            return visible.sum(-1, keepdim=True).clamp_min(1)
        if self.causal:
            return (inputs.index + 1)[:, None, :, None]
        return inputs.lengths[:, None, None, None].clamp_min(1)

    def _places(self, keys: Cache, inputs: Inputs) -> tuple[Tensor, Tensor] | None:
        if not self.positions.scores:
            return None
        mine = self.positions.places(inputs.positions)
        theirs = self.positions.places(keys["position"][:, 0, :, 0])
        return None if mine is None or theirs is None else (mine, theirs)

    def _seen(self, keys: Cache, inputs: Inputs) -> Tensor | None:
        """Return the mask of this call's tokens, broadcastable to (B, 1, T, T) bool, None = all visible."""
        seen = None if inputs.mask is None else inputs.mask[:, None, None, :]
        if self.causal or self.window is not None:
            age = inputs.index[:, None, :, None] - inputs.index[:, None, None, :]
            near = age >= 0 if self.causal else torch.ones_like(age, dtype=torch.bool)
            near = near if self.window is None else near & (age.abs() < self.window)
            seen = near if seen is None else seen & near
        return among(seen, keys, inputs)

    def _bias(self, q: Tensor, keys: Cache, inputs: Inputs) -> Tensor | None:
        k = keys["k"].repeat_interleave(self.num_heads // keys["k"].shape[1], 1)
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
        shape = (batch_size, self.num_kv_heads, self.head_dim)
        numbered = self.positions.scores or self.positions.weighs
        state = empty_cache(shape, device, dtype, positions=numbered)
        for name, conv in self.convs.items():
            assert isinstance(conv, ShortConv)
            state[f"conv {name}"] = conv.init_state(batch_size, device, dtype)
        return state

    def _stream(self, x: Tensor, state: State, inputs: Inputs) -> tuple[Tensor, State]:
        inputs = self._numbered(inputs, streaming=True)
        q, new, recalled, conv = self._project(x, state, inputs)
        if "part" in new and "part" not in state:  # kept from the first call with sets on
            B, S = state["k"].shape[0], state["k"].shape[2]
            state = {**state, "part": inputs.index.new_zeros(B, 1, S, 1)}
        elif "part" in state and "part" not in new:
            new["part"] = member_of(inputs)
        both, kept = state, state
        if self.reuses_kv is None:
            limit = None if self.window is None else self.window - 1
            both, kept = append(state, new, inputs, limit)
            kept.update({f"conv {name}": past for name, past in conv.items()})
        keys = self._shared(both, inputs)
        bias = self._bias(q, keys, inputs) if self.positions.scores else None
        seen = visibility(keys, inputs, self.window)
        if "part" in keys:
            seen = visibility(keys, inputs, self.window, always=True)
            seen = {"visible": among(seen["visible"], keys, inputs)} if seen else {}
        y = self._attend(q, keys, inputs, bias, weigh=self._weigh(keys, inputs), **seen)
        return self._finish(y, recalled), kept

    def _shared(self, keys: Cache, inputs: Inputs) -> Cache:
        """Return the cache of keys: this layer's, shared with later layers if asked, or that of an earlier layer."""
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

    def _mixing(self, x: Tensor, inputs: Inputs) -> Mixing | None:
        inputs = self._numbered(inputs)
        q, new, recalled, _ = self._project(x, {}, inputs)
        keys = self._shared(new, inputs)
        k, v = (t.repeat_interleave(self.num_heads // t.shape[1], 1) for t in (keys["k"], keys["v"]))
        bias = self._bias(q, keys, inputs) if self.positions.scores else None
        one_hot = torch.eye(k.shape[2], device=x.device, dtype=x.dtype).expand(*k.shape[:3], -1)
        alone = {**keys, "k": k, "v": one_hot}
        matrix = self._attend(q, alone, inputs, bias, visible=self._seen(keys, inputs))
        weigh, more = self._weigh(keys, inputs), None
        if weigh is not None:
            matrix, more = weigh(matrix, 0)
        if recalled is not None:
            y, lse = recalled
            more = merge([(torch.zeros_like(y), matrix[1]), recalled])[0]
            matrix = merge([matrix, (torch.zeros_like(matrix[0]), lse)])[0]
        return Mixing(
            matrix, v, lambda y: inputs.zero(self.out(merge_heads(y if more is None else y + more)))
        )


def _check_normalizer(name: str, length: int | None, window: int | None, num_memories: int) -> None:
    if name not in NORMALIZERS:
        raise ValueError(f"unknown normalizer {name!r}{nearest(name, list(NORMALIZERS))}")
    if length is not None and (name != "sigmoid" or length < 1):
        raise ValueError(
            f"normalizer_length must be None, or at least 1 with 'sigmoid'; got {length} with {name!r}"
        )
    if name == "sigmoid" and (window is not None or num_memories):
        raise ValueError("normalizer='sigmoid' goes with neither window nor num_memories")
