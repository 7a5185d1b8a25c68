"""Block-state: attention within windows and to context states of a state space over the past."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from anyformer.caches import append, empty_cache, key_index
from anyformer.contract import Inputs, Mixer, MixerInfo, take_tokens
from anyformer.layers.conv import recent
from anyformer.layers.grid import fold
from anyformer.layers.heads import head_width, merge_heads, split_heads
from anyformer.layers.linear import Linear
from anyformer.layers.norms.rms_norm import RMSNorm
from anyformer.mixers import create_mixer, register_mixer
from anyformer.ops.attention import attention
from anyformer.positions import Scheme, create_position, require
from anyformer.registry import nearest
from anyformer.state import State

CONTEXTS = ("single_head", "multi_head", "multi_filter")


@register_mixer(
    "block_state",
    examples=[
        {"window": 5, "num_states": 3, "state_dim": 4, "context": name, "num_heads": 2} for name in CONTEXTS
    ],
)
class BlockState(Mixer):
    """Attention within windows, and to context states of a state space (Fathi 2023, arXiv 2306.09539, section 3).

    u = SSM(x); a token of the window that begins at e attends to the window's tokens up to itself, and to S context
    states computed from u up to e - 1:

    - ``single_head``: u_{e-S}, ..., u_{e-1};
    - ``multi_head``: S linear maps of u_{e-1};
    - ``multi_filter``: u_{e-1} of S state spaces.

    A learned vector is added to each state. The outputs of both attentions are concatenated and projected. All windows
    run in parallel, as none depends on the attention of an earlier one.

    Args:
        num_heads: heads H of each attention.
        window: tokens in a window.
        num_states: S.
        context: ``single_head``, ``multi_head`` or ``multi_filter``.
        state_dim: states of each channel of the state space, S4D's.
        positions: a scheme that rotates, for the attention within windows.
    """

    class Options(Mixer.Options):
        num_heads: int = 4
        window: int = 64
        num_states: int = 8
        context: str = "single_head"
        state_dim: int = 16
        positions: Scheme = "rope"

        def info(self) -> MixerInfo:
            self.needs_causal(True, "its state space runs along time")
            facts = require("block_state", self.positions)
            return MixerInfo(reach=(None, 0), cost="n log n", state="constant", max_length=facts.max_length)

    options: Options

    def __init__(self, dim: int, **options: Any) -> None:
        super().__init__(dim, **options)
        o = self.options
        if o.context not in CONTEXTS:
            raise ValueError(f"unknown context {o.context!r}{nearest(o.context, list(CONTEXTS))}")
        for name, value in (("window", o.window), ("num_states", o.num_states)):
            if value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        K = head_width(dim, o.num_heads, None)
        self.num_heads, self.window, self.num_states, self.context = (
            o.num_heads,
            o.window,
            o.num_states,
            o.context,
        )
        filters = o.num_states if o.context == "multi_filter" else 1
        self.spaces = nn.ModuleList(
            create_mixer("s4", dim, state_dim=o.state_dim, mode="diagonal") for _ in range(filters)
        )
        self.heads = Linear(dim, o.num_states * dim, bias=False) if o.context == "multi_head" else None
        self.ids = nn.Parameter(torch.randn(o.num_states, dim) * 0.02)
        self.norm = RMSNorm(dim)
        self.q, self.k, self.v, self.context_q, self.context_k, self.context_v = (
            Linear(dim, dim, bias=False) for _ in range(6)
        )
        self.out = Linear(2 * dim, dim, bias=False)
        self.positions = create_position(o.positions, dim=dim, num_heads=o.num_heads, head_dim=K)
        if self.positions.scores:
            raise ValueError(f"positions must rotate or be none for block_state, got {o.positions!r}")

    @property
    def _filters(self) -> list[Mixer]:
        return list(self.spaces)  # type: ignore[arg-type]

    @property
    def places(self) -> int:
        """Number of outputs of the state space before a window that its context is computed from."""
        return self.num_states if self.context == "single_head" else 1

    def _states(self, u: Tensor) -> Tensor:
        """Return the context states (..., S, D) from the outputs (..., places, filters * D) before a window."""
        if self.heads is not None:
            u = self.heads(u)
        return self.norm(u.reshape(*u.shape[:-2], self.num_states, self.dim)) + self.ids

    def _project(self, x: Tensor, inputs: Inputs) -> tuple[Tensor, Tensor, Tensor]:
        q, k, v = (split_heads(layer(x), self.num_heads) for layer in (self.q, self.k, self.v))
        return *self.positions.rotate(q, k, inputs.positions), v

    def _read(self, queries: Tensor, states: Tensor, there: Tensor) -> Tensor:
        """Attend from queries (N, W, D) to the states (N, S, D) that are ``there`` (N, S): (N, W, D)."""
        q, k, v = (
            split_heads(layer(t), self.num_heads)
            for layer, t in ((self.context_q, queries), (self.context_k, states), (self.context_v, states))
        )
        return merge_heads(attention(q, k, v, visible=there[:, None, None, :]))

    def _there(self, edges: Tensor) -> Tensor:
        """Return the mask (..., S) of the states that exist for windows that begin at ``edges`` (...)."""
        place = torch.arange(self.num_states, device=edges.device) if self.places > 1 else edges.new_zeros(1)
        return (edges[..., None] - self.places + place >= 0).expand(*edges.shape, self.num_states)

    def _forward(self, x: Tensor, inputs: Inputs) -> Tensor:
        B, T, D = x.shape
        if T == 0:
            return x
        W = min(self.window, T)
        u = torch.cat([space(x, inputs) for space in self.spaces], -1)
        q, k, v = (fold(t.transpose(1, 2), (W,)).flatten(0, 1) for t in self._project(x, inputs))
        own = attention(*(t.transpose(1, 2) for t in (q, k, v)), causal=True)
        edges = torch.arange(0, T, W, device=x.device)
        before = edges[:, None] - self.places + torch.arange(self.places, device=x.device)
        states = self._states(u[:, before.clamp_min(0)]).flatten(0, 1)
        there = self._there(edges).expand(B, -1, -1).flatten(0, 1)
        read = self._read(fold(x, (W,)).flatten(0, 1), states, there)
        both = torch.cat((merge_heads(own), read), -1)
        return self.out(both.unflatten(0, (B, -1)).flatten(1, 2)[:, :T])

    def _init_state(self, batch_size: int, device: torch.device, dtype: torch.dtype) -> State:
        shape = (batch_size, self.num_heads, self.dim // self.num_heads)
        kept = self.window + self.places - 1
        return {
            **empty_cache(shape, device, dtype),
            "spaces": [space.own_state(batch_size, device, dtype) for space in self._filters],
            "u": torch.zeros(batch_size, kept, len(self.spaces) * self.dim, device=device, dtype=dtype),
        }

    def _stream(self, x: Tensor, state: State, inputs: Inputs) -> tuple[Tensor, State]:
        B, T, D = x.shape
        if T == 0:
            return x, state
        found = [
            space.stream(x, own, inputs) for space, own in zip(self._filters, state["spaces"], strict=True)
        ]
        u = torch.cat([y for y, _ in found], -1)
        q, k, v = self._project(x, inputs)
        cache = {name: state[name] for name in ("k", "v", "stored")}
        both, kept = append(cache, {"k": k, "v": v}, inputs, self.window - 1)
        edges = inputs.index // self.window * self.window
        index = key_index(both, inputs)[:, None]
        seen = (index >= edges[..., None]) & (index <= inputs.index[..., None])
        own = attention(q, both["k"], both["v"], visible=seen[:, None])
        # the outputs before each token's window, from the kept ones and the new ones
        joined = torch.cat((state["u"].to(u.dtype), u), 1)
        place = torch.arange(self.places, device=x.device) - self.places + state["u"].shape[1]
        take = (edges - inputs.index[:, :1])[..., None] + place
        states = self._states(take_tokens(joined, take.flatten(1).clamp_min(0)).unflatten(1, (T, -1)))
        read = self._read(x.reshape(B * T, 1, D), states.flatten(0, 1), self._there(edges).flatten(0, 1))
        y = self.out(torch.cat((merge_heads(own), read.view(B, T, D)), -1))
        past = recent(u, state["u"], state["u"].shape[1], inputs.mask)
        return y, {**kept, "spaces": [own for _, own in found], "u": past}
