"""Base of schemes that wrap another scheme."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from anyformer.contract import Inputs
from anyformer.positions import Scheme, create_position, position_info
from anyformer.positions._base import PositionInfo, Positions


class Around(Positions):
    """A scheme that passes every hook on to the scheme inside."""

    class Options(Positions.Options):
        scheme: Scheme = "rope"

        def info(self) -> PositionInfo:
            return position_info(self.scheme)

    options: Options

    def __init__(self, dim: int, num_heads: int, head_dim: int, **options: Any) -> None:
        super().__init__(dim, num_heads, head_dim, **options)
        self.inner = create_position(self.options.scheme, dim=dim, num_heads=num_heads, head_dim=head_dim)

    def ids(self, inputs: Inputs, streaming: bool = False) -> Tensor:
        return self.inner.ids(inputs, streaming)

    def embed(self, x: Tensor, positions: Tensor) -> Tensor:
        return self.inner.embed(x, positions)

    def infuse(self, x: Tensor, positions: Tensor) -> Tensor:
        return self.inner.infuse(x, positions)

    def rotate(self, q: Tensor, k: Tensor, positions: Tensor) -> tuple[Tensor, Tensor]:
        return self.inner.rotate(q, k, positions)

    def score(self, q: Tensor, k: Tensor, q_positions: Tensor, k_positions: Tensor) -> Tensor | None:
        return self.inner.score(q, k, q_positions, k_positions)

    def places(self, positions: Tensor) -> Tensor | None:
        return self.inner.places(positions)

    def weigh(self, p: Tensor, q_positions: Tensor, k_positions: Tensor) -> tuple[Tensor, Tensor | None]:
        return self.inner.weigh(p, q_positions, k_positions)
