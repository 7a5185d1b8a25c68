"""Which query may see which key, declared: small specs, combined with ``|`` and ``&``.

A spec speaks of token numbers: i of the query, j of the key. It is data, so that
:func:`~anyformer.ops.sparse_attention.sparse_attention` can compute only the blocks that it leaves, and
:meth:`MaskSpec.dense` says what the result must be.

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
Stretch = tuple[Tensor | None, Tensor | None]
"""First and last number, ``None`` = unbounded."""


class MaskSpec:
    """A set of (query, key) pairs."""

    def sees(self, i: Tensor, j: Tensor, query_is_global: Tensor, key_is_global: Tensor) -> Tensor:
        """Bool, elementwise over the broadcast arguments: may query number i see key number j?"""
        raise NotImplementedError

    def products(self) -> tuple[Product, ...]:
        """This spec as a union of products (intersections of simple specs)."""
        raise NotImplementedError

    def stretch(self, i: Tensor) -> Stretch | None:
        """The numbers of the first and the last key that query number i sees, if it sees all between, i among them."""
        return None

    def __or__(self, other: MaskSpec) -> MaskSpec:
        return Union((self, other))

    def __and__(self, other: MaskSpec) -> MaskSpec:
        return Intersection((self, other))

    @property
    def reach(self) -> tuple[int | None, int | None]:
        """How many tokens back and ahead a query can see at most, ``None`` = unlimited."""
        both = ([p.past for p in self.products()], [p.future for p in self.products()])
        past, future = (None if None in x else max(n for n in x if n is not None) for x in both)
        return past, future

    def dense(self, q_index: Tensor, k_index: Tensor, global_mask: Tensor | None = None) -> Tensor:
        """The whole mask, as the definition of this spec.

        Args:
            q_index: (B, T) int, the number of each query's token, -1 = not there.
            k_index: (B, S) int, of each key's.
            global_mask: (B, S) bool, the keys that are global tokens. A query is global if the key of the same
                number is.

        Returns:
            (B, T, S) bool, True = may see. What is not there sees nothing and is not seen.
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
        limit: of the number of global tokens, ``None`` = unknown.
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
        """Bool, as :meth:`MaskSpec.sees`."""
        return reduce(torch.logical_and, (s.sees(i, j, query_is_global, key_is_global) for s in self.specs))

    def stretch(self, i: Tensor) -> Stretch | None:
        """As :meth:`MaskSpec.stretch`, whatever is global."""
        bounds: Stretch = None, None
        for spec in self.specs:
            if isinstance(spec, _Side):
                if spec.side != self.global_side:
                    return None
                continue
            part = spec.stretch(i)
            if part is None:
                return None
            bounds = _bound(torch.maximum, bounds[0], part[0]), _bound(torch.minimum, bounds[1], part[1])
        return bounds

    def meet(self, other: Product) -> Product:
        """The intersection of both."""
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
    """The token itself and all before it: j <= i."""

    def sees(self, i: Tensor, j: Tensor, query_is_global: Tensor, key_is_global: Tensor) -> Tensor:
        """See :meth:`MaskSpec.sees`."""
        return j <= i

    def stretch(self, i: Tensor) -> Stretch | None:
        """See :meth:`MaskSpec.stretch`."""
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

    def stretch(self, i: Tensor) -> Stretch | None:
        """See :meth:`MaskSpec.stretch`."""
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

    def stretch(self, i: Tensor) -> Stretch | None:
        """See :meth:`MaskSpec.stretch`."""
        return i.div(self.length, rounding_mode="floor") * self.length - self.memory, None

    def products(self) -> tuple[Product, ...]:
        """See :meth:`MaskSpec.products`."""
        return (Product((self,), self.length - 1 + self.memory, None),)


@dataclass(frozen=True)
class Blocks(MaskSpec):
    """The token's own block: floor((i + shift) / length) = floor((j + shift) / length).

    ``shift`` moves the borders between blocks so many tokens back: the first block is that much shorter.
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

    def stretch(self, i: Tensor) -> Stretch | None:
        """See :meth:`MaskSpec.stretch`."""
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
        """Bool, elementwise: is key number j one of them?"""
        place = j % self.length
        return (place >= self.first) & (place < self.first + self.count)

    def most(self, S: int) -> int:
        """Of S keys of consecutive numbers, how many can be."""
        return min(S, -(-S // self.length) * self.count)

    def sees(self, i: Tensor, j: Tensor, query_is_global: Tensor, key_is_global: Tensor) -> Tensor:
        """See :meth:`MaskSpec.sees`."""
        return self.chosen(j) | torch.zeros_like(i, dtype=torch.bool)

    def products(self) -> tuple[Product, ...]:
        """See :meth:`MaskSpec.products`."""
        return (Product((self,), columns=self),)


@dataclass(frozen=True)
class Every(MaskSpec):
    """Tokens whose number is ``first`` mod ``step``, among themselves; no other sees or is seen.

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
    """Global tokens, marked in ``global_mask``: they are seen by all and see all.

    Args:
        keys: whether they are seen by all.
        queries: whether they see all.
        limit: the most global tokens a sample can have. With it the shapes inside do not depend on the data,
            which compilation needs.
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
    """Pairs whose key, or whose query, is global."""

    side: str

    def sees(self, i: Tensor, j: Tensor, query_is_global: Tensor, key_is_global: Tensor) -> Tensor:
        chosen, other = (key_is_global, i) if self.side == "key" else (query_is_global, j)
        return chosen | torch.zeros_like(other, dtype=torch.bool)


@dataclass(frozen=True)
class Union(MaskSpec):
    """Pairs that any of ``parts`` has; written ``a | b``."""

    parts: tuple[MaskSpec, ...] = field(default=())

    def sees(self, i: Tensor, j: Tensor, query_is_global: Tensor, key_is_global: Tensor) -> Tensor:
        """See :meth:`MaskSpec.sees`."""
        return reduce(torch.logical_or, (p.sees(i, j, query_is_global, key_is_global) for p in self.parts))

    def products(self) -> tuple[Product, ...]:
        """See :meth:`MaskSpec.products`."""
        return tuple(product for part in self.parts for product in part.products())


@dataclass(frozen=True)
class Intersection(MaskSpec):
    """Pairs that all of ``parts`` have; written ``a & b``."""

    parts: tuple[MaskSpec, ...] = field(default=())

    def sees(self, i: Tensor, j: Tensor, query_is_global: Tensor, key_is_global: Tensor) -> Tensor:
        """See :meth:`MaskSpec.sees`."""
        return reduce(torch.logical_and, (p.sees(i, j, query_is_global, key_is_global) for p in self.parts))

    def products(self) -> tuple[Product, ...]:
        """See :meth:`MaskSpec.products`."""
        return reduce(lambda a, b: tuple(x.meet(y) for x in a for y in b), (p.products() for p in self.parts))


def _bound(choose: Callable[[Bound, Bound], Bound], a: Bound | None, b: Bound | None) -> Bound | None:
    """The stricter of both bounds, None being none."""
    if a is None or b is None:
        return a if b is None else b
    return choose(a, b)


def _check_counts(spec: Any, **least: int) -> None:
    for name, bound in least.items():
        value = getattr(spec, name)
        if not isinstance(value, int) or isinstance(value, bool) or value < bound:
            wanted = f"{name} must be an integer of at least {bound}"
            raise ValueError(f"{type(spec).__name__}: {wanted}, got {value!r}")
