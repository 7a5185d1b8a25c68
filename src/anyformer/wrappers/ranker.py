"""A stack on splits of the sequence, each with the most similar earlier splits as context."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from anyformer.caches import append
from anyformer.contract import GROWTHS, Call, Inputs, Mixer, MixerInfo, Wrapper
from anyformer.precision import wide
from anyformer.state import State, where_rows
from anyformer.wrappers import register_wrapper
from anyformer.wrappers._pieces import Piece, pieces

RANKINGS = ("previous", "current")


class RankedSplits(NamedTuple):
    """Earlier splits to prepend: the first ``taken`` of k, in order of time, with their weights."""

    number: Tensor  # (B, A, k) int64
    weight: Tensor  # (B, A, k)
    taken: Tensor  # (B, A) int64


def max_similarity(query: Tensor, splits: Tensor) -> Tensor:
    """Return MaxSim, the sum over a query split's tokens of the largest cosine to a split's tokens: (B, A, n).

    query (B, A, S, D), splits (B, n, S, D); zero tokens are ignored.
    """
    (B, A, S, D), n = query.shape, splits.shape[1]
    q, k = (t.to(wide(t.dtype)) for t in (query, splits))
    q, k = (t * (t.square().sum(-1, keepdim=True) + 1e-16).rsqrt() for t in (q, k))
    cosines = q.reshape(B, A * S, D) @ k.reshape(B, n * S, D).mT
    return cosines.reshape(B, A, S, n, S).amax(-1).sum(2)


@register_wrapper("ranker")
class Ranker(Wrapper):
    """Avey's ranker around a stack (Hammoud 2025, section 3.1), run once for the whole stack.

    The sequence is cut into splits. Each split is processed after the ``top_k`` earlier ones of the largest MaxSim
    (:func:`max_similarity`), in order of time, each scaled by its score over the largest score::

        splits    0   1   2   3   4          top_k = 2
        context   0 w_0   3 w_3   4          of split 4; its own tokens always stand in the last slots

    By default the last complete split replaces the current one in the ranking, so that a causal stack stays causal and
    streams. The paper ranks by the whole current split, later tokens included, which thus affect what a token sees.

    Args:
        inner: the stack; causal, if tokens shall not see later ones of their split.
        split: tokens of a split.
        top_k: earlier splits in a context; with 0 the cost is linear.
        rank_by: ``previous``, the last complete split, or ``current``.
    """

    class Options(Wrapper.Options):
        split: int = 16
        top_k: int = 3
        rank_by: str = "previous"

        def info(self, inner: MixerInfo) -> MixerInfo:
            if self.split < 1 or self.top_k < 0:
                raise ValueError(
                    f"split must be at least 1 and top_k at least 0, got {self.split} and {self.top_k}"
                )
            if self.rank_by not in RANKINGS:
                raise ValueError(f"rank_by must be one of {', '.join(RANKINGS)}, got {self.rank_by!r}")
            self.refuse_grids("prepended splits", inner=inner)
            if inner.max_length is not None and inner.max_length < (self.top_k + 1) * self.split:
                raise ValueError(
                    f"inner must take {(self.top_k + 1) * self.split} tokens, got max_length {inner.max_length}"
                )
            ahead = 0 if inner.causal and (self.rank_by == "previous" or not self.top_k) else self.split - 1
            cost = "n^2" if self.top_k else "n"
            return dataclasses.replace(
                inner,
                numbers_tokens=True,
                reach=(None if self.top_k else self.split - 1, ahead),
                cost=cost,
                memory=cost,
                state="none"
                if ahead
                else max("n" if self.top_k else "constant", "constant", key=GROWTHS.index),
                side={},
                max_length=None,
            )

    options: Options

    def __init__(self, dim: int, inner: Mixer, **options: Any) -> None:
        super().__init__(dim, inner, **options)
        o = self.options
        self.inner, self.split, self.top_k, self.rank_by = inner, o.split, o.top_k, o.rank_by

    def choose(self, scores: Tensor, earlier: Tensor) -> RankedSplits:
        """Return the splits of the largest scores (B, A, n) among the ``earlier`` ones (B or 1, A, n) bool."""
        n, k = scores.shape[-1], self.top_k
        count = earlier.sum(-1).clamp_max(k).expand(scores.shape[:2])
        best = scores.masked_fill(~earlier, -torch.inf).topk(min(k, n), -1)
        number = torch.where(best.values > -torch.inf, best.indices, n)
        number, order = pad(number, (0, k - min(k, n)), value=n).sort(-1)
        score = pad(best.values.masked_fill(best.values == -torch.inf, 0.0), (0, k - min(k, n))).gather(
            -1, order
        )
        weight = score.clamp_min(0) / best.values[..., :1].clamp_min(1e-8)
        return RankedSplits(number, weight, count)

    def _forward(self, x: Tensor, inputs: Inputs) -> Tensor:
        (B, T, D), S, k = x.shape, self.split, self.top_k
        n = -(-T // S)
        if T == 0:
            return x
        splits = pad(x, (0, 0, 0, n * S - T)).reshape(B, n, S, D)
        order = torch.arange(n, device=x.device)
        if k:
            scores = max_similarity(splits, splits)
            if self.rank_by == "previous":
                scores = pad(scores, (0, 0, 1, 0))[:, :n]
            number, weight, count = self.choose(scores, (order < order[:, None])[None])
        else:
            number, count = order.new_zeros(B, n, 0), order.new_zeros(B, n)
            weight = splits.new_zeros(B, n, 0)
        # slots of a context: the chosen splits, the own split, and empty ones
        place = torch.arange(k + 1, device=x.device)
        own, number = place == count[..., None], pad(number, (0, 1), value=n)
        number = torch.where(own, order[:, None], torch.where(place < count[..., None], number, n))
        weight = torch.where(own, 1.0, pad(weight, (0, 1))).to(x.dtype)
        contexts = _take(pad(splits, (0, 0, 0, 0, 0, 1)), number) * weight[..., None, None]
        token = order[:, None] * S + torch.arange(S, device=x.device)
        real = (token < inputs.lengths[:, None, None])[:, :, None]  # (B, n, 1, S), of the own split
        there = (place < count[..., None])[..., None] & real[..., :1]
        mask = there | (own[..., None] & real)
        y = self.inner(contexts.reshape(B * n, -1, D), self._context(mask, count, inputs))
        y = y.reshape(B, n, k + 1, S, D)
        at = count[..., None, None, None].expand(-1, -1, 1, S, D)
        return y.gather(2, at).reshape(B, n * S, D)[:, :T]

    def _context(self, mask: Tensor, count: Tensor, inputs: Inputs) -> Inputs:
        """Return the inputs of contexts with mask (..., slots, S) bool and ``count`` (...) chosen splits."""
        mask = mask.flatten(-2).flatten(0, -2)
        first = (self.top_k - count.reshape(-1, 1)) * self.split
        index = first + torch.arange(mask.shape[1], device=mask.device)
        return Inputs(mask, index, index.to(inputs.positions.dtype), None, self._call(inputs))

    def _call(self, inputs: Inputs) -> Call:
        return inputs.inside("ranker", self.inner.info.side)

    def _init_state(self, batch_size: int, device: torch.device, dtype: torch.dtype) -> State:
        state = {"inner": self.inner.own_state(batch_size, device, dtype)}
        if self.top_k:
            stored = torch.zeros(batch_size, dtype=torch.int64, device=device)
            empty = torch.zeros(batch_size, 1, 0, self.dim, device=device, dtype=dtype)
            state["past"] = {"x": empty, "stored": stored}
        return state

    def _stream(self, x: Tensor, state: State, inputs: Inputs) -> tuple[Tensor, State]:
        y = torch.zeros_like(x)
        for piece in pieces(inputs, self.split):
            part, state = self._piece(piece, piece.of(x), state)
            y = piece.put(y, part)
        return y, state

    def _piece(self, piece: Piece, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Stream tokens of one split; if its first is among them, choose its context and run the stack on it."""
        inner, inputs = state["inner"], piece.inputs
        if bool(piece.starts.any()):
            fresh = self.inner.own_state(x.shape[0], x.device, x.dtype)
            if self.top_k and state["past"]["x"].shape[2] >= self.split:
                fresh = self._read(state["past"], fresh, inputs)
            inner = where_rows(piece.starts, fresh, inner)
        slot = inputs.index % self.split + self.top_k * self.split
        own = inputs.replace(index=slot, positions=slot.to(inputs.positions.dtype), call=self._call(inputs))
        y, inner = self.inner.stream(x, inner, own)
        new = {"inner": inner}
        if self.top_k:
            new["past"] = append(state["past"], {"x": x[:, None]}, inputs)[1]
        return y, new

    def _read(self, past: State, fresh: State, inputs: Inputs) -> State:
        """Return the inner state after the splits chosen from the past, for samples whose past ends with a split."""
        S, x, stored = self.split, past["x"][:, 0], past["stored"]
        B, L, D = x.shape
        n, complete = L // S, stored // S
        place = (L - stored)[:, None] + torch.arange(n * S, device=x.device)
        splits = x.gather(1, place.clamp_max(L - 1)[..., None].expand(-1, -1, D)).reshape(B, n, S, D)
        earlier = torch.arange(n, device=x.device) < complete[:, None]
        splits = splits * earlier[..., None, None]
        last = _take(splits, (complete - 1).clamp_min(0)[:, None])
        number, weight, count = self.choose(max_similarity(last, splits), earlier[:, None])
        context = _take(pad(splits, (0, 0, 0, 0, 0, 1)), number[:, 0]) * weight[:, 0, :, None, None].to(
            x.dtype
        )
        mask = (torch.arange(self.top_k, device=x.device) < count)[..., None].expand(-1, -1, S)
        return self.inner.stream(context.reshape(B, -1, D), fresh, self._context(mask, count, inputs))[1]


def _take(splits: Tensor, number: Tensor) -> Tensor:
    """Gather splits (B, n, S, D) by number (B, ...): (B, ..., S, D)."""
    index = number.flatten(1)[..., None, None].expand(-1, -1, *splits.shape[2:])
    return splits.gather(1, index).reshape(*number.shape, *splits.shape[2:])
