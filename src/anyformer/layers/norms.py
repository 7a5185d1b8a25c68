"""Norms by name."""

from __future__ import annotations

from torch import nn

from anyformer.registry import nearest

_NORMS = {"layer_norm": nn.LayerNorm, "rms_norm": nn.RMSNorm}


def create_norm(name: str, dim: int, eps: float = 1e-5) -> nn.Module:
    """``"layer_norm"`` (Ba 2016), ``"rms_norm"`` (Zhang 2019) or ``"none"``, over the last axis of ``dim``."""
    if name == "none":
        return nn.Identity()
    if name not in _NORMS:
        raise ValueError(f"unknown norm {name!r}{nearest(name, [*_NORMS, 'none'])}")
    return _NORMS[name](dim, eps=eps)
