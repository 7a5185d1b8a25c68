"""Stacks of layers, and the residual carries between them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from anyformer.registry import Registry, modules_in

if TYPE_CHECKING:
    from anyformer.stack.pre import Residual

residuals: Registry[type[Residual]] = Registry("residual", modules_in(__name__, __path__))
register_residual, residual_info, list_residuals = residuals.register, residuals.get, residuals.ids


def create_residual(
    name: str, dim: int, sublayers: Sequence[int], norm: str, eps: float = 1e-5, last: bool = True
) -> Residual:
    """Build a residual carry by name; the other arguments are those of :class:`anyformer.stack.pre.Residual`."""
    return residuals.get(name).target(dim, sublayers, norm, eps, last)


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
