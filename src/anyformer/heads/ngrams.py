"""A linear layer beside counted n-grams."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from anyformer.heads import register_head
from anyformer.heads.linear import LinearHead
from anyformer.layers.linear import Linear
from anyformer.layers.ngrams import NextTokenCounts, token_windows
from anyformer.questions import Question


@register_head("ngrams", examples=[{}, {"longest": 2}])
class NGramHead(LinearHead):
    """Logits W h + a log P(w | the last tokens), of each answer w: what counts tell, and what the model adds to it.

    Answers are the next token, or other classes that are asked at each token. P are interpolated n-grams, modified
    Kneser-Ney, counted on training samples (:class:`anyformer.layers.ngrams.NextTokenCounts`), and
    a = 2 sigmoid(u . log(1 + N) + v . h + b), where N are the counts of the last 1, 2, ... ``longest`` tokens: how far
    counts are trusted at this place. A product of two models' probabilities leaves each to tell what the other does not
    know (Hinton 2002). In training, the count of the very answer that is asked for is left out of P, since it would be
    right there and nowhere else.

    Counts are made once, on training samples (:meth:`fit`), and saved, not trained; before, P is uniform. Where there
    are more than ``fit_elements`` tokens, a part of them is counted; the count that is left out is then another's at
    places that were not, so that counts are trusted less than they deserve.

    Args:
        longest: tokens of the longest context.
    """

    class Options(LinearHead.Options):
        longest: int = 6

    options: Options
    pools = (None,)
    fit_elements = 4_000_000

    def __init__(self, dim: int, num_outputs: int, **options: Any) -> None:
        super().__init__(dim, num_outputs, **options)
        if self.options.longest < 1:
            raise ValueError(f"head 'ngrams': longest must be at least 1, got {self.options.longest}")
        self.context = self.options.longest
        self.counts = NextTokenCounts(num_outputs, self.options.longest)
        self.trust = Linear(self.options.longest + dim, 1)
        torch.nn.init.zeros_(self.trust.weight)
        torch.nn.init.zeros_(self.trust.bias)

    @classmethod
    def refuses(cls, question: Question) -> str | None:
        """Return that it counts classes of elements, unless these are asked for."""
        if question.kind != "class" or question.place != "each":
            return (
                f"counts which class follows tokens, and does not tell {question.what} of a {question.place}"
            )
        return None

    @torch.no_grad()
    def fit(self, tokens: Tensor, following: Tensor) -> None:
        """Count on training samples, see :meth:`anyformer.heads.Head.fit`."""
        self.counts.fit(token_windows(tokens, self.context), following)

    def forward(self, h: Tensor, tokens: Tensor | None = None, following: Tensor | None = None) -> Tensor:
        """Outputs ``(..., O)`` of hidden states ``(..., D)`` and the tokens up to each.

        Args:
            tokens: ``(..., longest)`` int64, numbered from 1; 0 where there is none. Without them, only W h is told.
            following: ``(...,)`` int64, the answers, so numbered, at places that were counted: in training.
        """
        logits = super().forward(h)
        if tokens is None:
            return logits
        told, seen = self.counts(tokens, following)
        trusted = 2 * torch.sigmoid(self.trust(torch.cat([seen.to(h.dtype), h], -1)))
        return logits + trusted * told.to(self.weight.dtype)
