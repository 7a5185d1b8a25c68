"""Schemes around another scheme: other numbers for the tokens, or weights on the probabilities."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from anyformer.contract import Inputs
from anyformer.positions import Scheme, create_position, position_facts, positions
from anyformer.positions.base import Facts, Positions, clipped
from anyformer.positions.relative import check_reach


class Wrapper(Positions):
    """Everything as the scheme inside does it."""

    class Options(Positions.Options):
        scheme: Scheme = "rope"

        def facts(self) -> Facts:
            return position_facts(self.scheme)

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


@positions.register("reverse", papers=["reverse-positions"])
class Reverse(Wrapper):
    """Any scheme with tokens numbered from the last one back, L - 1 - i (Rizzello 2023, section III).

    The newest token has the same number however long the window. No token can be numbered before the last one is
    there, so a model must have ``causal=False``.

    Args:
        scheme: what uses the numbers.
    """

    class Options(Wrapper.Options):
        scheme: Scheme = "sinusoidal"

        def facts(self) -> Facts:
            return position_facts(self.scheme)._replace(numbers=True, streams=False)

    options: Options

    def ids(self, inputs: Inputs, streaming: bool = False) -> Tensor:
        given = self.inner.ids(inputs, streaming)
        real = given if inputs.mask is None else given.masked_fill(~inputs.mask, -torch.inf)
        return given if given.shape[1] == 0 else (real.amax(1, keepdim=True) - given).clamp_min(0)


@positions.register("randomized", papers=["randomized-positions"])
class Randomized(Wrapper):
    """Any scheme with numbers drawn from a range far longer than the sequence, in order (Ruoss 2023, section 3).

    For n tokens, n different numbers below ``limit`` are drawn and sorted, in training anew for each batch and alike
    for all its samples and layers. In evaluation the draws are fixed. By default they are one for each number of
    tokens, as in the paper; then a model must have ``causal=False``, as an earlier token's number depends on how
    many follow. With ``longest`` there is one draw, of which shorter sequences take the first; it streams.

    Args:
        scheme: what uses the numbers.
        limit: numbers to draw from, the paper's L; the longest sequence there can be.
        longest: the longest sequence that is evaluated.
        seed: of the draws of evaluation.
    """

    order: Tensor

    class Options(Wrapper.Options):
        limit: int = 2048
        longest: int | None = None
        seed: int = 0

        def facts(self) -> Facts:
            inner = position_facts(self.scheme)
            if self.limit < 1 or (self.longest is not None and not 1 <= self.longest <= self.limit):
                raise ValueError(
                    f"longest must be from 1 to limit for randomized, got {self.longest} and {self.limit}"
                )
            if inner.max_length is not None and inner.max_length < self.limit:
                raise ValueError(
                    f"limit must be at most {inner.max_length}, the positions of the scheme inside, got {self.limit}"
                )
            return inner._replace(
                numbers=True,
                draws=True,
                streams=inner.streams and self.longest is not None,
                max_length=self.limit if self.longest is None else self.longest,
            )

    options: Options

    def __init__(self, dim: int, num_heads: int, head_dim: int, **options: Any) -> None:
        super().__init__(dim, num_heads, head_dim, **options)
        o = self.options
        self.limit, self.longest = o.limit, o.longest
        generator = torch.Generator().manual_seed(o.seed)
        order = torch.rand(o.limit, generator=generator, device="cpu").argsort()  # a stream unlike training's
        if o.longest is not None:
            order = order[: o.longest].sort().values
        self.register_buffer("order", order)

    def ids(self, inputs: Inputs, streaming: bool = False) -> Tensor:
        which = self.inner.ids(inputs, streaming).round().long()
        drawn = self._training_draw(inputs) if self.training and not streaming else self._fixed_draw(inputs)
        return drawn.expand(which.shape[0], -1).gather(1, which).to(inputs.positions.dtype)

    def _training_draw(self, inputs: Inputs) -> Tensor:
        """(1, T): drawn by the first layer that asks."""
        T, device = inputs.index.shape[1], inputs.index.device
        self._check(T)
        shared, key = inputs.call.shared, f"randomized:{self.limit}:{T}"
        if key not in shared:
            shared[key] = torch.randperm(self.limit, device=device)[:T].sort().values[None]
        drawn: Tensor = shared[key]
        return drawn

    def _fixed_draw(self, inputs: Inputs) -> Tensor:
        """(1 or B, T)."""
        if self.longest is not None:
            return self.order[None]
        T = inputs.index.shape[1]
        self._check(T)
        if inputs.mask is None:
            return self.order[:T].sort().values[None]
        drawn = self.order[:T].masked_fill(~inputs.mask, self.limit)  # past the end, where there is nobody
        return drawn.sort(1).values

    def _check(self, length: int) -> None:
        if length > self.limit:
            raise ValueError(
                f"x must have at most {self.limit} tokens (randomized positions' limit), got {length}"
            )


@positions.register("urpe", papers=["urpe"])
class Urpe(Wrapper):
    """Probabilities times a learned number of the distance, behind the softmax (Luo 2022, eq. 8).

    y_i = sum_j p_ij c_(j-i) v_j: rows need not sum to one, so that equal tokens can get different outputs, which no
    scheme inside the softmax can do. At first c = 1.

    Args:
        scheme: what enters the scores; it may not be one that is added to the input.
        reach: the largest distance told apart.
    """

    class Options(Wrapper.Options):
        scheme: Scheme = "t5"
        reach: int = 128

        def facts(self) -> Facts:
            inner = position_facts(self.scheme)
            if inner.adds:
                raise ValueError(f"scheme must be one that rotates or scores for urpe, got {self.scheme!r}")
            return inner._replace(weighs=True)

    options: Options

    def __init__(self, dim: int, num_heads: int, head_dim: int, **options: Any) -> None:
        super().__init__(dim, num_heads, head_dim, **options)
        o = self.options
        self.reach = check_reach("urpe", o.reach)
        self.factor = nn.Parameter(torch.ones(num_heads, 2 * o.reach + 1))

    def weigh(self, p: Tensor, q_positions: Tensor, k_positions: Tensor) -> tuple[Tensor, Tensor | None]:
        p, more = self.inner.weigh(p, q_positions, k_positions)
        which = clipped(q_positions, k_positions, self.reach)
        return p * self.factor.to(p)[:, which].transpose(0, 1), more
