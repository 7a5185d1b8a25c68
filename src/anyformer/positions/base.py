"""The interface of positions."""

from __future__ import annotations

from torch import Tensor, nn


class Positions(nn.Module):
    """How order enters a mixer. Every hook works on any tile of queries and keys.

    Attributes:
        adds: whether ``embed`` does something, so that it is applied once, to the model's input.
        scores: whether ``score`` does something.
        max_length: the number of positions there are, ``None`` = any.
    """

    adds: bool = False
    scores: bool = False
    max_length: int | None = None

    def __init__(self, dim: int, num_heads: int, head_dim: int) -> None:
        super().__init__()
        self.dim, self.num_heads, self.head_dim = dim, num_heads, head_dim

    def embed(self, x: Tensor, positions: Tensor) -> Tensor:
        """x (B, T, D) with its positions (B, T) put in."""
        return x

    def rotate(self, q: Tensor, k: Tensor, positions: Tensor) -> tuple[Tensor, Tensor]:
        """q (B, H, T, K) and k (B, G, T, K) of the same tokens, at positions (B, T)."""
        return q, k

    def score(self, q: Tensor, k: Tensor, q_positions: Tensor, k_positions: Tensor) -> Tensor | None:
        """What is added to the scaled scores of q (B, H, T, K) and k (B, H, S, K): broadcasts to (B, H, T, S)."""
        return None

    def places(self, positions: Tensor) -> Tensor | None:
        """Where ``score`` is -|place_i - place_j|: the places (B, H, T) of tokens at positions (B, T), in float64.

        Attention over many tokens takes them instead of ``score``.
        """
        return None
