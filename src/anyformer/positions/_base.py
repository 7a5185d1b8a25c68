"""The interface of positions."""

from __future__ import annotations

from typing import Any, NamedTuple

from torch import Tensor, nn

from anyformer.contract import Inputs
from anyformer.options import Part, PartOptions


class PositionInfo(NamedTuple):
    """What is known of a scheme under its options, without building it.

    Attributes:
        adds: whether ``embed`` does something, so that it is applied once, to the model's input.
        infuses, scores, weighs: whether the hook ``infuse``, ``score`` or ``weigh`` does something.
        numbers: whether ``ids`` does something.
        streams: whether a token's position is known before the later tokens are.
        draws: whether positions are drawn in training.
        max_length: the number of positions there are, ``None`` = any.
    """

    adds: bool = False
    infuses: bool = False
    scores: bool = False
    weighs: bool = False
    numbers: bool = False
    streams: bool = True
    draws: bool = False
    max_length: int | None = None


class Positions(Part, nn.Module):
    """How order enters a mixer. Every hook works on any tile of queries and keys.

    Positions are real-valued ids (B, T), or (B, T, axes); by default the number of the token. They say where a token
    stands, never what it may see. A scheme has the :class:`PositionInfo` of its options as attributes.

    Args:
        dim: width D of the mixer.
        num_heads, head_dim: its query heads and their width.
        options: see ``Options``.
    """

    class Options(PartOptions):
        """The options of a scheme."""

        def info(self) -> PositionInfo:
            """What the scheme does under these options; ``ValueError`` where they do not go together."""
            return PositionInfo()

    options: Options
    adds: bool
    infuses: bool
    scores: bool
    weighs: bool
    numbers: bool
    streams: bool
    draws: bool
    max_length: int | None

    def __init__(self, dim: int, num_heads: int, head_dim: int, **options: Any) -> None:
        super().__init__()
        self.options = self.Options.read(options)
        self.dim, self.num_heads, self.head_dim = dim, num_heads, head_dim
        for name, value in self.options.info()._asdict().items():
            setattr(self, name, value)

    def ids(self, inputs: Inputs, streaming: bool = False) -> Tensor:
        """The positions (B, T) that the other hooks get, in the place of those given."""
        return inputs.positions

    def embed(self, x: Tensor, positions: Tensor) -> Tensor:
        """x (B, T, D) with its positions (B, T) put in."""
        return x

    def infuse(self, x: Tensor, positions: Tensor) -> Tensor:
        """What queries and keys, but not values, are projected from: x (B, T, D) to the same."""
        return x

    def rotate(self, q: Tensor, k: Tensor, positions: Tensor) -> tuple[Tensor, Tensor]:
        """q (B, H, T, K) and k (B, G, T, K) of the same tokens, at positions (B, T)."""
        return q, k

    def score(self, q: Tensor, k: Tensor, q_positions: Tensor, k_positions: Tensor) -> Tensor | None:
        """What is added to the scaled scores of q (B, H, T, K) and k (B, H, S, K): broadcasts to (B, H, T, S)."""
        return None

    def factors(
        self, q: Tensor, k: Tensor, q_positions: Tensor, k_positions: Tensor
    ) -> tuple[Tensor, Tensor] | None:
        """Where ``score`` is a product under the same scale: left (B, H, T, R) and right (B, H, S, R).

        Segment attention takes them as further columns of q and k, which the native kernel bears.
        """
        return None

    def places(self, positions: Tensor) -> Tensor | None:
        """Where ``score`` is -|place_i - place_j|: the places (B, H, T) of tokens at positions (B, T), in float64.

        Attention over many tokens takes them instead of ``score``.
        """
        return None

    def weigh(self, p: Tensor, q_positions: Tensor, k_positions: Tensor) -> tuple[Tensor, Tensor | None]:
        """From probabilities p (B, H, T, S): the weights of the values, and what is added to the outputs (B, H, T, V).

        Both are linear in p, so that tiles of keys can be merged.
        """
        return p, None


def offsets(q_positions: Tensor, k_positions: Tensor) -> Tensor:
    """(B, T, S): the key's position less the query's, j - i."""
    return k_positions[:, None, :] - q_positions[:, :, None]


def clipped(q_positions: Tensor, k_positions: Tensor, reach: int) -> Tensor:
    """(B, T, S) int64: j - i, rounded and clipped to [-reach, reach], counted from 0."""
    return offsets(q_positions, k_positions).round().clamp(-reach, reach).long() + reach
