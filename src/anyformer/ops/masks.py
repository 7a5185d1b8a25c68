"""Mask specs: declarations of the keys that a query may see, combined with ``|`` and ``&``.

A spec is a condition on token numbers, i of the query and j of the key. As it is data,
:func:`~anyformer.ops.sparse_attention.sparse_attention` computes only the blocks with visible pairs;
:meth:`MaskSpec.dense` is the mask that defines the result.

>>> longformer = Window(past=256, future=256) | Global()
>>> strided = Window(past=63, future=0) | Dilated(past=None, future=0, step=64)
>>> fixed = (Blocks(128) | Columns(128, first=120, count=8)) & Causal()
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import reduce
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor

Bound = TypeVar("Bound")
Span = tuple[Tensor | None, Tensor | None]
"""First and last number, ``None`` = unbounded."""


class MaskSpec:
    """A set of (query, key) pairs."""

    def sees(self, i: Tensor, j: Tensor, query_is_global: Tensor, key_is_global: Tensor) -> Tensor:
        """Return True where query number i may see key number j, elementwise over the broadcast arguments."""
        raise NotImplementedError

    def products(self) -> tuple[Product, ...]:
        """Return this spec as a union of products (intersections of simple specs)."""
        raise NotImplementedError

    def span(self, i: Tensor) -> Span | None:
        """Return the first and the last key number that query i sees if these are one span around i, else None."""
        return None

    def __or__(self, other: MaskSpec) -> MaskSpec:
        return Union((self, other))

    def __and__(self, other: MaskSpec) -> MaskSpec:
        return Intersection((self, other))

    @property
    def reach(self) -> tuple[int | None, int | None]:
        """Largest numbers of tokens that a query sees back and ahead, ``None`` = unlimited."""
        both = ([p.past for p in self.products()], [p.future for p in self.products()])
        past, future = (None if None in x else max(n for n in x if n is not None) for x in both)
        return past, future

    def dense(self, q_index: Tensor, k_index: Tensor, global_mask: Tensor | None = None) -> Tensor:
        """Return the whole mask, which defines this spec.

        Args:
            q_index: (B, T) int, the token number of each query, -1 = none.
            k_index: (B, S) int, of each key.
            global_mask: (B, S) bool, the keys that are global tokens. A query is global if the key of the same
                number is.

        Returns:
            (B, T, S) bool, True = may see. Number -1 sees nothing and is not seen.
        """
        i, j = q_index[:, :, None], k_index[:, None, :]
        key_is_global = (
            torch.zeros_like(j, dtype=torch.bool) if global_mask is None else global_mask[:, None, :]
        )
        query_is_global = ((i == j) & (i >= 0) & key_is_global).any(2, keepdim=True)
        return self.sees(i, j, query_is_global, key_is_global) & (i >= 0) & (j >= 0)


class Product(NamedTuple):
    """An intersection of simple specs, with the bounds that block execution needs.

    Attributes:
        specs: the simple specs, all of which must hold.
        past, future: -future <= i - j <= past for every visible pair, ``None`` = unbounded.
        step: i - j is a multiple of it for every visible pair.
        residue: number mod step of both sides of every visible pair, ``None`` = any.
        columns: the only keys that are visible, ``None`` = any.
        global_side: ``"key"`` or ``"query"`` if one side of each pair must be a global token, else ``""``.
        limit: the most global tokens of a sample, ``None`` = unknown.
    """

    specs: tuple[MaskSpec, ...]
    past: int | None = None
    future: int | None = None
    step: int = 1
    residue: int | None = None
    columns: Columns | None = None
    global_side: str = ""
    limit: int | None = None

    def sees(self, i: Tensor, j: Tensor, query_is_global: Tensor, key_is_global: Tensor) -> Tensor:
        """See :meth:`MaskSpec.sees`."""
        return reduce(torch.logical_and, (s.sees(i, j, query_is_global, key_is_global) for s in self.specs))

    def span(self, i: Tensor) -> Span | None:
        """See :meth:`MaskSpec.span`; global tokens are left aside."""
        bounds: Span = None, None
        for spec in self.specs:
            if isinstance(spec, _Side):
                if spec.side != self.global_side:
                    return None
                continue
            part = spec.span(i)
            if part is None:
                return None
            bounds = _bound(torch.maximum, bounds[0], part[0]), _bound(torch.minimum, bounds[1], part[1])
        return bounds

    def meet(self, other: Product) -> Product:
        """Return the intersection of both products."""
        step = math.lcm(self.step, other.step)
        residues = [x.residue for x in (self, other) if x.step == step and x.residue is not None]
        return Product(
            self.specs + other.specs,
            _bound(min, self.past, other.past),
            _bound(min, self.future, other.future),
            step,
            residues[0] if residues else None,
            self.columns or other.columns,
            self.global_side or other.global_side,
            _bound(min, self.limit, other.limit),
        )


@dataclass(frozen=True)
class Causal(MaskSpec):
    """All tokens up to the query's own: j <= i."""

    def sees(self, i: Tensor, j: Tensor, query_is_global: Tensor, key_is_global: Tensor) -> Tensor:
        """See :meth:`MaskSpec.sees`."""
        return j <= i

    def span(self, i: Tensor) -> Span | None:
        """See :meth:`MaskSpec.span`."""
        return None, i

    def products(self) -> tuple[Product, ...]:
        """See :meth:`MaskSpec.products`."""
        return (Product((self,), None, 0),)


@dataclass(frozen=True)
class Window(MaskSpec):
    """A band: i - past <= j <= i + future."""

    past: int
    future: int

    def __post_init__(self) -> None:
        _check_counts(self, past=0, future=0)

    def sees(self, i: Tensor, j: Tensor, query_is_global: Tensor, key_is_global: Tensor) -> Tensor:
        """See :meth:`MaskSpec.sees`."""
        return (j >= i - self.past) & (j <= i + self.future)

    def span(self, i: Tensor) -> Span | None:
        """See :meth:`MaskSpec.span`."""
        return i - self.past, i + self.future

    def products(self) -> tuple[Product, ...]:
        """See :meth:`MaskSpec.products`."""
        return (Product((self,), self.past, self.future),)


@dataclass(frozen=True)
class Dilated(MaskSpec):
    """Every ``step``-th token of a band: i - past <= j <= i + future with i - j a multiple of step.

    ``None`` = from the first token on, or to the last.
    """

    past: int | None
    future: int | None
    step: int

    def __post_init__(self) -> None:
        bounds = {name: 0 for name in ("past", "future") if getattr(self, name) is not None}
        _check_counts(self, **bounds, step=1)

    def sees(self, i: Tensor, j: Tensor, query_is_global: Tensor, key_is_global: Tensor) -> Tensor:
        """See :meth:`MaskSpec.sees`."""
        seen = (i - j) % self.step == 0
        seen = seen if self.past is None else seen & (j >= i - self.past)
        return seen if self.future is None else seen & (j <= i + self.future)

    def products(self) -> tuple[Product, ...]:
        """See :meth:`MaskSpec.products`."""
        return (Product((self,), self.past, self.future, self.step),)


@dataclass(frozen=True)
class Segments(MaskSpec):
    """The token's own segment, ``memory`` tokens before it, and all after: j >= floor(i / length) * length - memory.

    ``Segments(length, memory) & Causal()`` is the attention of Transformer-XL (arXiv 1901.02860).
    """

    length: int
    memory: int

    def __post_init__(self) -> None:
        _check_counts(self, length=1, memory=0)

    def sees(self, i: Tensor, j: Tensor, query_is_global: Tensor, key_is_global: Tensor) -> Tensor:
        """See :meth:`MaskSpec.sees`."""
        start = i.div(self.length, rounding_mode="floor") * self.length
        return j >= start - self.memory

    def span(self, i: Tensor) -> Span | None:
        """See :meth:`MaskSpec.span`."""
        return i.div(self.length, rounding_mode="floor") * self.length - self.memory, None

    def products(self) -> tuple[Product, ...]:
        """See :meth:`MaskSpec.products`."""
        return (Product((self,), self.length - 1 + self.memory, None),)


@dataclass(frozen=True)
class Blocks(MaskSpec):
    """The token's own block: floor((i + shift) / length) = floor((j + shift) / length).

    ``shift`` moves the block borders back by so many tokens, which shortens the first block.
    """

    length: int
    shift: int = 0

    def __post_init__(self) -> None:
        _check_counts(self, length=1, shift=0)

    def sees(self, i: Tensor, j: Tensor, query_is_global: Tensor, key_is_global: Tensor) -> Tensor:
        """See :meth:`MaskSpec.sees`."""
        return self._start(i) == self._start(j)

    def _start(self, i: Tensor) -> Tensor:
        return (i + self.shift).div(self.length, rounding_mode="floor") * self.length - self.shift

    def span(self, i: Tensor) -> Span | None:
        """See :meth:`MaskSpec.span`."""
        start = self._start(i)
        return start, start + self.length - 1

    def products(self) -> tuple[Product, ...]:
        """See :meth:`MaskSpec.products`."""
        return (Product((self,), self.length - 1, self.length - 1),)


@dataclass(frozen=True)
class Columns(MaskSpec):
    """The same few keys of every block for all queries: first <= j mod length < first + count."""

    length: int
    first: int
    count: int

    def __post_init__(self) -> None:
        _check_counts(self, length=1, first=0, count=1)
        if self.first + self.count > self.length:
            raise ValueError(
                f"Columns: first + count must be at most length={self.length}, got {self.first} + {self.count}"
            )

    def chosen(self, j: Tensor) -> Tensor:
        """Return True where key number j is in one of the columns."""
        place = j % self.length
        return (place >= self.first) & (place < self.first + self.count)

    def most(self, S: int) -> int:
        """Return the most keys of the columns among S consecutive numbers."""
        return min(S, -(-S // self.length) * self.count)

    def sees(self, i: Tensor, j: Tensor, query_is_global: Tensor, key_is_global: Tensor) -> Tensor:
        """See :meth:`MaskSpec.sees`."""
        return self.chosen(j) | torch.zeros_like(i, dtype=torch.bool)

    def products(self) -> tuple[Product, ...]:
        """See :meth:`MaskSpec.products`."""
        return (Product((self,), columns=self),)


@dataclass(frozen=True)
class Every(MaskSpec):
    """Tokens whose number is ``first`` mod ``step`` see each other; the others see nothing and are not seen.

    ``Every(r, o) & Blocks(w)`` is a branch of LongNet's dilated attention (arXiv 2307.02486).
    """

    step: int
    first: int

    def __post_init__(self) -> None:
        _check_counts(self, step=1, first=0)
        if self.first >= self.step:
            raise ValueError(f"Every: first must be below step={self.step}, got {self.first}")

    def sees(self, i: Tensor, j: Tensor, query_is_global: Tensor, key_is_global: Tensor) -> Tensor:
        """See :meth:`MaskSpec.sees`."""
        return (i % self.step == self.first) & (j % self.step == self.first)

    def products(self) -> tuple[Product, ...]:
        """See :meth:`MaskSpec.products`."""
        return (Product((self,), step=self.step, residue=self.first),)


@dataclass(frozen=True)
class Global(MaskSpec):
    """Global tokens, marked in ``global_mask``: all tokens see them, and they see all tokens.

    Args:
        keys: all tokens see them.
        queries: they see all tokens.
        limit: the most global tokens a sample can have. It makes the shapes inside independent of the data, which
            compilation needs.
    """

    keys: bool = True
    queries: bool = True
    limit: int | None = None

    def __post_init__(self) -> None:
        if not (self.keys or self.queries):
            raise ValueError("Global: keys or queries must be True")
        if self.limit is not None:
            _check_counts(self, limit=1)

    def sees(self, i: Tensor, j: Tensor, query_is_global: Tensor, key_is_global: Tensor) -> Tensor:
        """See :meth:`MaskSpec.sees`."""
        found = (p.sees(i, j, query_is_global, key_is_global) for p in self.products())
        return reduce(torch.logical_or, found)

    def products(self) -> tuple[Product, ...]:
        """See :meth:`MaskSpec.products`."""
        keys = Product((_Side("key"),), global_side="key", limit=self.limit)
        queries = Product((_Side("query"),), global_side="query", limit=self.limit)
        return (keys,) * self.keys + (queries,) * self.queries


@dataclass(frozen=True)
class _Side(MaskSpec):
    """Pairs whose key is global, or whose query is (``side``)."""

    side: str

    def sees(self, i: Tensor, j: Tensor, query_is_global: Tensor, key_is_global: Tensor) -> Tensor:
        chosen, other = (key_is_global, i) if self.side == "key" else (query_is_global, j)
        return chosen | torch.zeros_like(other, dtype=torch.bool)


@dataclass(frozen=True)
class Union(MaskSpec):
    """Pairs that are visible in any of ``parts``; written ``a | b``."""

    parts: tuple[MaskSpec, ...] = field(default=())

    def sees(self, i: Tensor, j: Tensor, query_is_global: Tensor, key_is_global: Tensor) -> Tensor:
        """See :meth:`MaskSpec.sees`."""
        return reduce(torch.logical_or, (p.sees(i, j, query_is_global, key_is_global) for p in self.parts))

    def products(self) -> tuple[Product, ...]:
        """See :meth:`MaskSpec.products`."""
        return tuple(product for part in self.parts for product in part.products())


@dataclass(frozen=True)
class Intersection(MaskSpec):
    """Pairs that are visible in all of ``parts``; written ``a & b``."""

    parts: tuple[MaskSpec, ...] = field(default=())

    def sees(self, i: Tensor, j: Tensor, query_is_global: Tensor, key_is_global: Tensor) -> Tensor:
        """See :meth:`MaskSpec.sees`."""
        return reduce(torch.logical_and, (p.sees(i, j, query_is_global, key_is_global) for p in self.parts))

    def products(self) -> tuple[Product, ...]:
        """See :meth:`MaskSpec.products`."""
        return reduce(lambda a, b: tuple(x.meet(y) for x in a for y in b), (p.products() for p in self.parts))


def _bound(choose: Callable[[Bound, Bound], Bound], a: Bound | None, b: Bound | None) -> Bound | None:
    """Return the stricter of two bounds, None = unbounded."""
    if a is None or b is None:
        return a if b is None else b
    return choose(a, b)


def _check_counts(spec: Any, **least: int) -> None:
    for name, bound in least.items():
        value = getattr(spec, name)
        if not isinstance(value, int) or isinstance(value, bool) or value < bound:
            wanted = f"{name} must be an integer of at least {bound}"
            raise ValueError(f"{type(spec).__name__}: {wanted}, got {value!r}")
