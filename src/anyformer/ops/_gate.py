"""The one gate to fast forms: an op lists its paths in order of preference, and the first that does not refuse runs.

Choosing, ``anyformer doctor`` and the documentation read the same list. ``choices`` records what was taken and why the
paths before it refused.
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
        run: the op from its arguments.
        refuses: the reason, in words, why the path does not take these arguments, or None. It is asked at every call:
            a reason that needs no numbers is a constant. Without it the path takes everything.
    """

    name: str
    what: str
    run: Callable[..., Any]
    refuses: Refusal | None = None


class Choice(NamedTuple):
    """The path that an op took, and why those before it refused: their names and reasons."""

    op: str
    path: Path
    refused: tuple[tuple[str, str], ...]

    @property
    def why(self) -> str:
        """In words: how the path computes, then who refused."""
        return "; ".join([self.path.what, *(f"not {name}: {reason}" for name, reason in self.refused)])


TRACED = "a trace sees no kernel, and gives sizes as tensors"

PATHS: dict[str, Paths] = {}
"""The paths of every op that has been imported."""

_recordings: list[list[Choice]] = []


class Paths:
    """The paths of an op, which it calls with its arguments as they were checked and widened.

    The last one takes everything; it is the one that ``torch.jit.trace`` is given, under which sizes are tensors that
    nobody may look at.
    """

    __slots__ = ("_steps", "op", "paths")

    def __init__(self, op: str, *paths: Path) -> None:
        assert paths[-1].refuses is None, f"nothing is left to {op} when {paths[-1].name} refuses"
        if op in PATHS:
            raise ValueError(f"the paths of op {op!r} are listed twice")
        self.op, self.paths = op, paths
        self._steps = tuple((path.refuses, path.run) for path in paths)
        PATHS[op] = self

    def __call__(self, *args: Any) -> Any:
        """Run the first path that takes these arguments."""
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
        """The path that takes these arguments, and why those before it refuse."""
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
    """Record the choices of all ops that run inside, those that ops call included, in their order."""
    found: list[Choice] = []
    _recordings.append(found)
    try:
        yield found
    finally:
        _recordings.remove(found)


# ---- reasons to refuse ----------------------------------------------------------------------------------------

_PLAIN = frozenset((Tensor, nn.Parameter, type(None)))


def looked_at(*tensors: Tensor | None) -> str | None:
    """Why nothing but PyTorch's own operations and custom ops may touch these tensors: somebody looks on."""
    if torch.compiler.is_dynamo_compiling():  # what others trace is of a class of its own
        return "a compiler does better with PyTorch's own operations"
    return None if _PLAIN.issuperset(map(type, tensors)) else "a tensor is of a class of its own"


def refuses_outside_autograd(*tensors: Tensor | None) -> str | None:
    """Why the kernels cannot be called on these tensors without a custom op in between.

    (Our small autograd functions have the form of ``forward`` that takes ctx: for the other one PyTorch looks up its
    signature at every call, which costs a small model an eighth of its step.)
    """
    why = kernels.refuses(*tensors)
    if why is None and _PLAIN.issuperset(map(type, tensors)) and not torch.compiler.is_dynamo_compiling():
        return None
    return why or looked_at(*tensors)


def tracked(*tensors: Tensor | None) -> bool:
    """Whether a gradient of any is asked for."""
    if not torch.is_grad_enabled():
        return False
    return any(t is not None and t.requires_grad for t in tensors)


def watched(*tensors: Tensor | None) -> bool:
    """Whether autograd, a compiler or a class of tensors has to see an op on these, by a custom op."""
    enabled = torch.is_grad_enabled()
    return torch.compiler.is_dynamo_compiling() or any(
        x is not None and ((enabled and x.requires_grad) or type(x) is not Tensor) for x in tensors
    )
