"""Dispatch of ops: an op lists its paths in order of preference, and the first that does not refuse runs.

``anyformer doctor`` and the documentation read the same list. ``choices`` records which path ran and why the paths
before it refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from anyformer import kernels

Refusal = Callable[..., str | None]


class Path(NamedTuple):
    """One way to compute an op.

    Attributes:
        name: as ``doctor`` shows it.
        what: how it computes, in a few words.
        run: computes the op from its arguments.
        refuses: returns the reason, in words, why the path does not support these arguments, or None. It runs at every
            call, so reasons should be constants where possible. Without it the path supports all arguments.
    """

    name: str
    what: str
    run: Callable[..., Any]
    refuses: Refusal | None = None


class Choice(NamedTuple):
    """The path that ran, and the names and reasons of the paths that refused before it."""

    op: str
    path: Path
    refused: tuple[tuple[str, str], ...]

    @property
    def why(self) -> str:
        """A sentence: how the path computes, then which paths refused and why."""
        return "; ".join([self.path.what, *(f"not {name}: {reason}" for name, reason in self.refused)])


TRACED = "torch.jit.trace cannot record a kernel, and passes sizes as tensors"

PATHS: dict[str, Paths] = {}
"""The paths of every op that has been imported."""

_recordings: list[list[Choice]] = []


class Paths:
    """The paths of an op, called with its checked and widened arguments.

    The last path must support all arguments. It also runs under ``torch.jit.trace``, where sizes are tensors, which
    other paths could not inspect without fixing them in the trace.
    """

    __slots__ = ("_steps", "op", "paths")

    def __init__(self, op: str, *paths: Path) -> None:
        assert paths[-1].refuses is None, (
            f"the last path of {op}, {paths[-1].name}, must support all arguments"
        )
        assert op not in PATHS, f"the paths of op {op!r} are listed twice"
        self.op, self.paths = op, paths
        self._steps = tuple((path.refuses, path.run) for path in paths)
        PATHS[op] = self

    def __call__(self, *args: Any) -> Any:
        """Run the first path that supports these arguments."""
        if _recordings:
            return self._run_and_record(*args)
        if torch._C._get_tracing_state() is not None:
            return self.paths[-1].run(*args)
        for refuses, run in self._steps:
            if refuses is None or refuses(*args) is None:
                return run(*args)
        raise AssertionError(f"every path of {self.op} refuses")

    def __iter__(self) -> Iterator[Path]:
        return iter(self.paths)

    def choice(self, *args: Any) -> Choice:
        """Return the first path that supports these arguments, and why the paths before it refuse."""
        if torch._C._get_tracing_state() is not None:
            return Choice(self.op, self.paths[-1], tuple((path.name, TRACED) for path in self.paths[:-1]))
        refused: list[tuple[str, str]] = []
        for path in self.paths:
            reason = None if path.refuses is None else path.refuses(*args)
            if reason is None:
                return Choice(self.op, path, tuple(refused))
            refused.append((path.name, reason))
        raise AssertionError(f"every path of {self.op} refuses")

    def _run_and_record(self, *args: Any) -> Any:
        chosen = self.choice(*args)
        for found in _recordings:
            found.append(chosen)
        return chosen.path.run(*args)


@contextmanager
def choices() -> Iterator[list[Choice]]:
    """Record the choices of the ops that run inside, including ops called by ops, in call order."""
    found: list[Choice] = []
    _recordings.append(found)
    try:
        yield found
    finally:
        _recordings.remove(found)


# ---- reasons to refuse ----------------------------------------------------------------------------------------

_PLAIN = frozenset((Tensor, nn.Parameter, type(None)))


def refuses_raw_access(*tensors: Tensor | None) -> str | None:
    """Return why only PyTorch's own operations and custom ops may read these tensors (tracing, subclasses), or None."""
    if torch.compiler.is_dynamo_compiling():  # other tracers pass tensor subclasses
        return "torch.compile optimises PyTorch's own operations better"
    return None if _PLAIN.issuperset(map(type, tensors)) else "a tensor is of a tensor subclass"


def refuses_outside_autograd(*tensors: Tensor | None) -> str | None:
    """Return why the kernels cannot run on these tensors without a custom op around them, or None.

    (Our small autograd functions use the form of ``forward`` that takes ctx: for the other form PyTorch looks up the
    signature at every call, which costs a small model an eighth of its step.)
    """
    why = kernels.refuses(*tensors)
    if why is None and _PLAIN.issuperset(map(type, tensors)) and not torch.compiler.is_dynamo_compiling():
        return None
    return why or refuses_raw_access(*tensors)


def needs_grad(*tensors: Tensor | None) -> bool:
    """True if any of the tensors needs a gradient."""
    if not torch.is_grad_enabled():
        return False
    return any(t is not None and t.requires_grad for t in tensors)


def needs_custom_op(*tensors: Tensor | None) -> bool:
    """True if autograd, torch.compile or a tensor subclass must see an op on these tensors as one node, a custom op."""
    enabled = torch.is_grad_enabled()
    return torch.compiler.is_dynamo_compiling() or any(
        x is not None and ((enabled and x.requires_grad) or type(x) is not Tensor) for x in tensors
    )
