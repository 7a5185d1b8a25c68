"""Base of softmax attention with fixed patterns, given as mask specs."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from anyformer.caches import Cache, append, empty_cache, key_index
from anyformer.contract import Inputs, Mixer, MixerInfo, Mixing
from anyformer.layers.heads import head_width, merge_heads, split_heads
from anyformer.layers.linear import Linear
from anyformer.ops.attention import attention, merge
from anyformer.ops.masks import MaskSpec, Product
from anyformer.ops.sparse_attention import sparse_attention
from anyformer.positions import Scheme, create_position, require
from anyformer.state import State

Branch = list[tuple[slice, MaskSpec]]
"""Mask specs with the heads that they hold for; together all heads, once each."""


class PatternedAttention(Mixer):
    """Attention whose heads see the pairs of mask specs.

    A subclass gives the specs in ``Options.branches``. Several branches make one softmax over all their pairs, in
    which a key that two branches see counts twice.

    Args:
        num_heads: heads H.
        positions: a position scheme by name, or a dict with ``name`` and its options; one that scores is
            possible only where all heads share a pattern.
        bias: biases on the projections.
    """

    num_global = 0

    class Options(Mixer.Options):
        num_heads: int = 4
        positions: Scheme = "rope"
        bias: bool = False

        def branches(self) -> list[Branch]:
            """Return the branches under these options."""
            raise NotImplementedError

        def info(self) -> MixerInfo:
            branches, facts = self.branches(), require(self.owner, self.positions)
            if facts.scores and any(len(branch) > 1 for branch in branches):
                raise ValueError(
                    f"positions={self.positions!r} make scores for all heads at once, and here heads have patterns of "
                    "their own"
                )
            specs = [spec for branch in branches for _, spec in branch]
            pasts, futures = zip(*(spec.reach for spec in specs))
            past, future = (None if None in ends else max(ends) for ends in (pasts, futures))
            linear = all(_is_linear(product) for spec in specs for product in spec.products())
            return MixerInfo(
                reach=(past, future),
                cost="n" if linear else "n^2",
                memory="n" if linear else "n^2",
                state="none" if not self.causal else "n" if past is None else "constant",
                max_length=facts.max_length,
            )

    options: Options

    def __init__(self, dim: int, **options: Any) -> None:
        super().__init__(dim, **options)
        o = self.options
        K = head_width(dim, o.num_heads, None)
        self.num_heads, self.head_dim, self.causal = o.num_heads, K, o.causal
        self.branches = o.branches()
        self.positions = create_position(o.positions, dim=dim, num_heads=o.num_heads, head_dim=K)
        self.q, self.k, self.v, self.out = (Linear(dim, dim, bias=o.bias) for _ in range(4))

    def _project(self, x: Tensor, inputs: Inputs) -> tuple[Tensor, Cache]:
        q, k, v = (split_heads(layer(x), self.num_heads) for layer in (self.q, self.k, self.v))
        q, k = self.positions.rotate(q, k, inputs.positions)
        new = {"k": k, "v": v}
        if self.positions.scores:
            new["position"] = inputs.positions[:, None, :, None]
        return q, new

    def _forward(self, x: Tensor, inputs: Inputs) -> Tensor:
        q, new = self._project(x, inputs)
        return self.out(merge_heads(self._attend(q, new["k"], new["v"], inputs)))

    def _attend(self, q: Tensor, k: Tensor, v: Tensor, inputs: Inputs) -> Tensor:
        index = None if inputs.mask is None else inputs.zero(inputs.index + 1) - 1
        is_global = inputs.zero(inputs.index < self.num_global) if self.num_global else None
        place = self.positions.places(inputs.positions) if self.positions.scores else None
        options: dict[str, Any] = {"q_index": index, "k_index": index, "global_mask": is_global}
        options |= {"q_pos": inputs.positions, "k_pos": inputs.positions}
        options["places"] = None if place is None else (place, place)
        options["score"] = self._score if self.positions.scores and place is None else None

        def of(heads: slice, spec: MaskSpec) -> tuple[Tensor, Tensor]:
            y, lse = sparse_attention(q[:, heads], k[:, heads], v[:, heads], spec, return_lse=True, **options)
            return y, lse

        return self._together(q, v, of)

    def _together(self, q: Tensor, v: Tensor, of: Any) -> Tensor:
        """Merge the branches into one softmax, from the parts that ``of(heads, spec)`` returns."""
        parts = []
        for branch in self.branches:
            if len(branch) == 1:
                parts.append(of(*branch[0]))
                continue
            order = torch.cat([torch.arange(self.num_heads)[heads] for heads, _ in branch]).to(q.device)
            ys, lses = zip(*(of(heads, spec) for heads, spec in branch))
            back = order.argsort()
            parts.append((torch.cat(ys, 1)[:, back], torch.cat(lses, 1)[:, back]))
        return merge(parts)[0]

    def _score(self, s: Tensor, q: Tensor, k: Tensor, q_pos: Tensor, k_pos: Tensor) -> Tensor:
        term = self.positions.score(q, k, q_pos, k_pos)
        return s if term is None else s + term

    def _init_state(self, batch_size: int, device: torch.device, dtype: torch.dtype) -> State:
        shape = (batch_size, self.num_heads, self.head_dim)
        return empty_cache(shape, device, dtype, positions=self.positions.scores)

    def _stream(self, x: Tensor, state: State, inputs: Inputs) -> tuple[Tensor, State]:
        if x.shape[1] == 0:
            return x, state
        q, new = self._project(x, inputs)
        both, kept = append(state, new, inputs, self.info.reach[0])
        index, past = inputs.zero(inputs.index + 1) - 1, key_index(both, inputs)
        k, v = both["k"], both["v"]
        bias = None
        if self.positions.scores:
            bias = self.positions.score(q, k, inputs.positions, both["position"][:, 0, :, 0])

        def of(heads: slice, spec: MaskSpec) -> tuple[Tensor, Tensor]:
            seen = spec.dense(index, past)[:, None]
            y, lse = attention(
                q[:, heads], k[:, heads], v[:, heads], visible=seen, bias=bias, return_lse=True
            )
            return y, lse

        return self.out(merge_heads(self._together(q, v, of))), kept

    def _mixing(self, x: Tensor, inputs: Inputs) -> Mixing:
        q, new = self._project(x, inputs)
        k, v = new["k"], new["v"]
        one_hot = torch.eye(k.shape[2], device=x.device, dtype=x.dtype).expand(*k.shape[:3], -1)
        matrix = self._attend(q, k, one_hot, inputs)
        return Mixing(matrix, v, lambda y: inputs.zero(self.out(merge_heads(y))))


def _is_linear(product: Product) -> bool:
    """Return True if a query sees a bounded number of keys."""
    return bool(product.global_side) or (product.past is not None and product.future is not None)
