"""Declaration of ops: a definition, a fast form that chooses among paths, and a FLOP formula."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple, ParamSpec, TypeVar

import torch
from torch import Tensor
from torch.autograd import forward_ad

from anyformer import kernels
from anyformer.ops._gate import PATHS, Paths

P = ParamSpec("P")
R = TypeVar("R")


def native_exponential(x: Tensor, out: Tensor, rounds: int) -> None:
    """Write exp of x (n,) into the rows of ``out`` (threads, n), ``rounds`` times: the benchmark's yardstick."""
    kernels.run("exponential", x, out, x.numel(), rounds)


class Spread(NamedTuple):
    """Axes of the outputs along which a fast form may spread a NaN or an infinity further than the definition does.

    Finite numbers are not excused, nor is any other sample of the batch.
    """

    axes: tuple[int, ...]
    reason: str


ALONG_TIME = Spread(
    (2,), "whole tiles of tokens are multiplied, hidden ones by zero, and zero times NaN is NaN"
)


class Primitive(NamedTuple):
    """An op as the registry knows it."""

    name: str
    fast: Callable[..., Any]
    definition: Callable[..., Any]
    flops: Callable[..., int]
    spread: Spread | None = None

    @property
    def paths(self) -> Paths:
        """The paths that compute the op, in order of preference."""
        return PATHS[self.name]


UNDER_TRANSFORMS = (
    "Inside torch.func (grad, vjp, jvp, vmap) and with dual tensors every op runs its definition, which can be far "
    "slower; backward() and torch.autograd.grad take the paths above."
)
"""The rule of :func:`primitive` where a transform asks for other derivatives than those of ``backward``."""

_transformed: Callable[[], bool] = torch._C._are_functorch_transforms_active

PRIMITIVES: dict[str, Primitive] = {}

_definition_depth = 0
_counters: list[FlopCounter] = []


def primitive(
    name: str,
    *,
    definition: Callable[..., R],
    flops: Callable[..., int],
    spread: Spread | None = None,
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Register a fast form with its definition and its FLOP formula (of the fast form, multiply-add = 2).

    ``definition`` and ``flops`` take the arguments of the fast form, which checks them and hands them to its
    :class:`~anyformer.ops._gate.Paths`. ``spread``: see :class:`Spread`; without it the fast form shows NaN exactly
    where the definition does.
    """

    def wrap(fast: Callable[P, R]) -> Callable[P, R]:
        @functools.wraps(fast)
        def run(*args: P.args, **kwargs: P.kwargs) -> R:
            # kernels and custom ops define reverse-mode derivatives only; PyTorch's operations define all of them
            if _definition_depth or forward_ad._current_level >= 0 or _transformed():
                return definition(*args, **kwargs)
            if _counters:
                return _counters[-1].count(flops, fast, args, kwargs)
            return fast(*args, **kwargs)

        assert name not in PRIMITIVES, f"op {name!r} is registered twice"
        PRIMITIVES[name] = Primitive(name, fast, definition, flops, spread)
        return run

    return wrap


@contextmanager
def use_definition() -> Iterator[None]:
    """Run every op by its definition: the slow reference that the fast forms are compared with."""
    global _definition_depth
    _definition_depth += 1
    try:
        yield
    finally:
        _definition_depth -= 1


class FlopCounter:
    """Counts floating-point operations: the ops by their formulas, everything else by PyTorch's own counter.

    >>> with FlopCounter() as counter:
    ...     model(x)
    >>> counter.total
    """

    def __init__(self) -> None:
        self._formulas = 0
        self._inside = 0
        from torch.utils.flop_counter import FlopCounterMode  # imports Triton, if it is installed

        self._torch = FlopCounterMode(display=False)

    def __enter__(self) -> FlopCounter:
        _counters.append(self)
        self._torch.__enter__()
        return self

    def __exit__(self, *exc: Any) -> None:
        self._torch.__exit__(*exc)
        _counters.remove(self)

    def count(self, flops: Callable[..., int], fast: Callable[..., R], args: Any, kwargs: Any) -> R:
        before = self._torch.get_total_flops()
        _counters.remove(self)  # the formula of this op includes the ops that it calls
        try:
            result = fast(*args, **kwargs)
        finally:
            _counters.append(self)
        self._inside += self._torch.get_total_flops() - before
        self._formulas += int(flops(*args, **kwargs))
        return result

    @property
    def total(self) -> int:
        """Operations counted so far."""
        return self._torch.get_total_flops() - self._inside + self._formulas
