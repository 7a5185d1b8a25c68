"""A linear layer of low rank."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from anyformer.heads import register_head
from anyformer.heads._base import Head
from anyformer.layers.linear import Linear


@register_head("low_rank")
class LowRankHead(Head):
    """Outputs V (U h) + b, where V has the width ``rank``, whatever the model's is: for a table of many outputs."""

    class Options(Head.Options):
        rank: int = 64

    options: Options

    def __init__(self, dim: int, num_outputs: int, **options: Any) -> None:
        super().__init__(dim, num_outputs, **options)
        if self.options.rank < 1:
            raise ValueError(f"rank must be at least 1, got {self.options.rank}")
        self.down = Linear(dim, self.options.rank, bias=False)
        self.up = Linear(self.options.rank, num_outputs, bias=self.options.bias is not False)

    def tie(self, embedding: nn.Embedding) -> None:
        """Refuse the table of an embedding."""
        raise ValueError("head 'low_rank' has no matrix that could be the embedding's: say tied=false")

    def forward(self, h: Tensor) -> Tensor:
        """Outputs ``(..., O)`` of hidden states ``(..., D)``."""
        found: Tensor = self.up(self.down(h))
        return found
