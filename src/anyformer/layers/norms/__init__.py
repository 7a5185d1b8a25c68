"""Norms over the last axis, by name."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from anyformer.registry import Registry, modules_in

norms: Registry[Callable[..., nn.Module]] = Registry("norm", modules_in(__name__, __path__))
register_norm, norm_info, list_norms = norms.register, norms.get, norms.ids


def create_norm(name: str, dim: int, eps: float = 1e-5) -> nn.Module:
    """Build a norm over a last axis of ``dim`` channels, by name; ``none`` is the identity."""
    return norms.get(name).target(dim, eps=eps)
