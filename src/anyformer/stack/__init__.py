"""Layers one after the other, and the residual carries that they share a stream by."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

from anyformer.registry import Entry, Registry, modules_in

if TYPE_CHECKING:
    from anyformer.stack.pre import Residual

R = TypeVar("R", bound="type[Residual]")

residuals: Registry[type[Residual]] = Registry("residual", modules_in(__name__, __path__))


def register_residual(id: str) -> Callable[[R], R]:
    """Class decorator: make a residual carry known as ``id``."""
    return residuals.register(id)


def create_residual(
    name: str, dim: int, sublayers: Sequence[int], norm: str, eps: float = 1e-5, last: bool = True
) -> Residual:
    """A residual carry by name; the other arguments are those of :class:`anyformer.stack.pre.Residual`."""
    return residuals.get(name).target(dim, sublayers, norm, eps, last)


def residual_info(name: str) -> Entry[type[Residual]]:
    """What is known of the residual carry of that name."""
    return residuals.get(name)


def list_residuals() -> list[str]:
    """Names of the residual carries."""
    return residuals.ids()


from anyformer.stack._stack import Stack, combine  # noqa: E402

__all__ = [
    "Stack",
    "combine",
    "create_residual",
    "list_residuals",
    "register_residual",
    "residual_info",
    "residuals",
]
