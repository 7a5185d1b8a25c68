"""The interface of positions."""

from __future__ import annotations

from typing import Any, NamedTuple

from torch import Tensor, nn

from anyformer.contract import Inputs
from anyformer.options import Part, PartOptions


class PositionInfo(NamedTuple):
    """Properties of a scheme under its options, known without building it.

    Attributes:
        adds: the scheme has ``embed``, which is applied once, to the model's input.
        infuses, scores, weighs: the scheme has the hook ``infuse``, ``score`` or ``weigh``.
        numbers: the scheme has ``ids``.
        streams: a token's position does not depend on later tokens.
        draws: positions are drawn at random in training.
        max_length: the number of positions, ``None`` = any.
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
    """A position scheme: hooks through which order enters a mixer, each on any tile of queries and keys.

    Positions are real-valued ids (B, T), or (B, T, axes); by default the number of the token. They never decide what a
    token may see. A scheme has the fields of its options' :class:`PositionInfo` as attributes.

    Args:
        dim: width D of the mixer.
        num_heads, head_dim: its query heads and their width.
        options: see ``Options``.
    """

    class Options(PartOptions):
        """The options of a scheme."""

        def info(self) -> PositionInfo:
            """Return the properties of the scheme under these options; raise ``ValueError`` if they conflict."""
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
        """Return the positions (B, T) for the other hooks, which replace the given ones."""
        return inputs.positions

    def embed(self, x: Tensor, positions: Tensor) -> Tensor:
        """Return x (B, T, D) with its positions (B, T) added."""
        return x

    def infuse(self, x: Tensor, positions: Tensor) -> Tensor:
        """Return the input (B, T, D) of the projections to queries and keys, but not values, from x (B, T, D)."""
        return x

    def rotate(self, q: Tensor, k: Tensor, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Rotate q (B, H, T, K) and k (B, G, T, K) of the same tokens, at positions (B, T)."""
        return q, k

    def score(self, q: Tensor, k: Tensor, q_positions: Tensor, k_positions: Tensor) -> Tensor | None:
        """Return the term of the scaled scores of q (B, H, T, K) and k (B, H, S, K): broadcasts to (B, H, T, S)."""
        return None

    def factors(
        self, q: Tensor, k: Tensor, q_positions: Tensor, k_positions: Tensor
    ) -> tuple[Tensor, Tensor] | None:
        """Return factors of ``score``, left (B, H, T, R) and right (B, H, S, R), whose product gets the scores' scale.

        Segment attention appends them to q and k as more channels, which the native kernel supports.
        """
        return None

    def places(self, positions: Tensor) -> Tensor | None:
        """Return the places (B, H, T) of tokens at positions (B, T), float64, if ``score`` is -|place_i - place_j|.

        Attention over many tokens uses them instead of ``score``.
        """
        return None

    def weigh(self, p: Tensor, q_positions: Tensor, k_positions: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return the weights of the values from probabilities p (B, H, T, S), and a term of the outputs (B, H, T, V).

        Both are linear in p, so that tiles of keys can be merged.
        """
        return p, None


def offsets(q_positions: Tensor, k_positions: Tensor) -> Tensor:
    """Return the key's position minus the query's, j - i: (B, T, S)."""
    return k_positions[:, None, :] - q_positions[:, :, None]


def clipped(q_positions: Tensor, k_positions: Tensor, reach: int) -> Tensor:
    """Return j - i, rounded, clipped to [-reach, reach] and plus reach, an index from 0: (B, T, S) int64."""
    return offsets(q_positions, k_positions).round().clamp(-reach, reach).long() + reach
