"""Heads of models, by name: from hidden states to outputs, with the loss and the answers that these have."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from anyformer.heads._base import Head, Loss, Pool
from anyformer.registry import Registry, modules_in

__all__ = ["Head", "Loss", "Pool", "create_head", "head_class", "heads", "list_heads", "register_head"]

heads: Registry[type[Head]] = Registry("head", modules_in(__name__, __path__))
register_head, list_heads = heads.register, heads.ids


def head_class(name: str) -> type[Head]:
    """Return the class of that name; raise ``ValueError`` if there is none, or it is no head."""
    cls = heads.get(name).target
    if not (isinstance(cls, type) and issubclass(cls, Head)):
        raise ValueError(f"head {name!r} must be a subclass of anyformer.heads.Head, got {cls!r}")
    return cls


def create_head(
    name: str, dim: int, num_outputs: int, *, pool: Pool = None, options: Mapping[str, Any] | None = None
) -> Head:
    """Build the head of that name.

    Args:
        name: one of :func:`list_heads`, or ``file.py:Name`` for one of your own.
        dim: width D of the hidden states.
        num_outputs: width O of the outputs.
        pool: how the model pools the hidden states over time; None for outputs at each element.
        options: see the head's ``Options``.

    Raises:
        ValueError: there is none of that name or no such option, or it does not go with ``pool``.
    """
    cls = head_class(name)
    if pool not in cls.pools:
        raise ValueError(
            f"head {name!r} answers for each element of a sequence, and this model gives one answer to the whole "
            f"(pool={pool!r})"
        )
    options = options or {}
    cls.Options.read(options)  # raises for one that is called as another argument
    return cls(dim, num_outputs, **options)
