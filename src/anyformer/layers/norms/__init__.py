"""Norms over the last axis, by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from torch import nn

from anyformer.registry import Entry, Registry, modules_in

N = TypeVar("N", bound=type[nn.Module])

norms: Registry[Callable[..., nn.Module]] = Registry("norm", modules_in(__name__, __path__))


def register_norm(id: str) -> Callable[[N], N]:
    """Class decorator: make a norm known as ``id``; it is built with ``dim`` and ``eps=``."""
    return norms.register(id)


def create_norm(name: str, dim: int, eps: float = 1e-5) -> nn.Module:
    """A norm over the last axis of ``dim`` by name; ``none`` is nothing."""
    return norms.get(name).target(dim, eps=eps)


def norm_info(name: str) -> Entry[Callable[..., nn.Module]]:
    """What is known of the norm of that name."""
    return norms.get(name)


def list_norms() -> list[str]:
    """Names of the norms."""
    return norms.ids()
