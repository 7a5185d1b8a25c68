"""Edges of graphs, as mixers are given them: ``call.side["edges"]``.

They are (B, T, T) integers, of the token t that looks and the token s that it looks at:

- k > 0: an edge of kind k;
- -d < 0: no edge, and the shortest path has d edges;
- 0: neither, or the path is not known.
"""

from __future__ import annotations

import torch
from torch import Tensor

from anyformer.info import SideInput

EDGES = SideInput("pair", required=True)
"""The declaration of the side input ``"edges"``."""
KINDS = 16
"""Default number of kinds of edges that mixers tell apart; data has no more."""


def check_kinds(num_kinds: int) -> None:
    """Raise ``ValueError`` if ``num_kinds`` is not positive."""
    if num_kinds < 1:
        raise ValueError(f"num_kinds must be at least 1, got {num_kinds}")


def lookup(table: Tensor, rows: Tensor) -> Tensor:
    """Return numbers (B, H, T, T) of pairs, from table (H, R) at rows (B, T, T) of integers."""
    B, T, S = rows.shape
    return table.index_select(1, rows.flatten()).view(-1, B, T, S).transpose(0, 1)


def example_edges(batch: int, length: int, generator: torch.Generator) -> Tensor:
    """Return edges of all kinds, paths and unrelated pairs at random: (batch, length, length)."""
    return torch.randint(-KINDS, KINDS + 1, (batch, length, length), generator=generator)
