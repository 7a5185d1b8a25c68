"""A linear layer beside the items that go with those before."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from anyformer.heads import register_head
from anyformer.heads.linear import LinearHead
from anyformer.layers.cooccurrence import Cooccurrence
from anyformer.layers.linear import Linear
from anyformer.questions import Question

MOST_ITEMS = 4000
"""The most items whose pairs are counted: a table of 64 MB."""
LEAST = 0.1
"""Added to each score, so that items that go with none before can be told; one item just before adds at most 1."""
ANSWERS = 1000
"""Answers in training by which the first weights are chosen."""
RIDGE = 0.01


@register_head("neighbours", examples=[{}, {"longest": 3, "fading": 0.5}])
class NeighboursHead(LinearHead):
    """Logits W h + a log(s_j + 0.1) + c [j was before], of each next item j: what goes with the items before.

    s are item-based nearest neighbours by the cosine of training samples
    (:class:`anyformer.layers.cooccurrence.Cooccurrence`), and a = 2 sigmoid(u . h + v) a_0, and c alike: how far they
    are trusted at this place, and whether items come again. a_0 and c_0 are the likeliest for training answers without
    W h, which starts at zero, so that training starts with what counts tell. In training the very sample is left out of
    the counts, its answer included.

    Counts, a_0 and c_0 are made once, on training samples (:meth:`fit`), and saved, not trained; before, they are 0.

    Args:
        longest: items before that are looked at.
        fading: factor on the weight of an item for each one after it.
    """

    class Options(LinearHead.Options):
        longest: int = 64
        fading: float = 0.8

    options: Options
    pools = (None,)
    fit_elements = 4_000_000
    reads_sample = True
    first: Tensor

    def __init__(self, dim: int, num_outputs: int, **options: Any) -> None:
        super().__init__(dim, num_outputs, **options)
        if self.options.longest < 1:
            raise ValueError(f"head 'neighbours': longest must be at least 1, got {self.options.longest}")
        if not 0 < self.options.fading <= 1:
            raise ValueError(
                f"head 'neighbours': fading must be above 0 and at most 1, got {self.options.fading}"
            )
        if num_outputs > MOST_ITEMS:
            raise ValueError(
                f"head 'neighbours': counts pairs of at most {MOST_ITEMS:,} items, and there are {num_outputs:,}"
            )
        self.context = self.options.longest
        self.counts = Cooccurrence(num_outputs, self.options.fading)
        self.register_buffer("first", torch.zeros(2))
        """a_0 and c_0 ``(2,)``."""
        self.trust = Linear(dim, 2)
        torch.nn.init.zeros_(self.trust.weight)
        torch.nn.init.zeros_(self.trust.bias)
        if not self.options.tied:
            torch.nn.init.zeros_(self.weight)

    @classmethod
    def refuses(cls, question: Question) -> str | None:
        """Return that it tells which item is next, unless classes of elements are asked for."""
        if question.kind != "class" or question.place != "each":
            return f"tells which item is next, and not {question.what} of a {question.place}"
        return None

    @torch.no_grad()
    def fit(self, tokens: Tensor, following: Tensor) -> None:
        """Count on training samples, see :meth:`anyformer.heads.Head.fit`, and choose a_0 and c_0."""
        held = torch.cat([tokens, following], 1)
        self.counts.fit(held)
        row, place = (following > 0).nonzero(as_tuple=True)
        some = torch.linspace(0, len(row) - 1, min(len(row), ANSWERS), device=row.device).long()
        row, place = row[some], place[some]
        before = torch.nn.functional.pad(tokens, (self.context - 1, 0)).unfold(1, self.context, 1)[row, place]
        told = torch.stack(self._told(before, held[row]), -1).double()  # (N, V, 2)
        self.first.copy_(_likeliest(told, following[row, place] - 1))

    def _told(self, before: Tensor, sample: Tensor | None) -> tuple[Tensor, Tensor]:
        score, there = self.counts(before, sample)
        return (score + LEAST).log(), there

    def forward(
        self,
        h: Tensor,
        tokens: Tensor | None = None,
        following: Tensor | None = None,
        sample: Tensor | None = None,
    ) -> Tensor:
        """Outputs ``(..., O)`` of hidden states ``(..., D)`` and the items up to each.

        Args:
            tokens: ``(..., longest)`` int64, numbered from 1; 0 where there is none. Without them, only W h is told.
            following: not looked at: ``sample`` has them.
            sample: ``(..., K)`` int64, all items of the sample, so numbered, with its answers: in training.
        """
        logits = super().forward(h)
        if tokens is None:
            return logits
        trusted = 2 * torch.sigmoid(self.trust(h)) * self.first.to(h.dtype)
        score, there = (one.to(logits.dtype) for one in self._told(tokens, sample))
        return logits + trusted[..., :1] * score + trusted[..., 1:] * there


def _likeliest(told: Tensor, answers: Tensor) -> Tensor:
    """Return the weights (K,) of features ``(N, V, K)`` whose softmax makes answers ``(N,)`` likeliest, by Newton."""
    weights = told.new_zeros(told.shape[2])
    if not len(told):
        return weights
    own = told[torch.arange(len(told)), answers].sum(0)
    for _ in range(30):
        p = (told @ weights).softmax(-1)
        mean = torch.einsum("nvk,nv->nk", told, p)
        slope = mean.sum(0) - own + RIDGE * weights
        curve = torch.einsum("nvk,nvj,nv->kj", told, told, p) - mean.T @ mean
        step = torch.linalg.solve(curve + RIDGE * torch.eye(len(weights)).to(p), slope).clamp(-1, 1)
        weights = weights - step
        if step.abs().max() < 1e-4:
            break
    return weights
