"""A linear layer."""

from __future__ import annotations

from typing import Any

from anyformer.heads import register_head
from anyformer.heads._base import Head
from anyformer.layers.linear import Linear


@register_head("linear")
class LinearHead(Head, Linear):
    """Outputs W h + b: every element's answer is its own."""

    def __init__(self, dim: int, num_outputs: int, **options: Any) -> None:
        read = self.Options.read(options)
        Linear.__init__(self, dim, num_outputs, bias=read.bias is not False)
        self.options = read
