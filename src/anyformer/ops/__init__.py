"""Functions on tensors (B, H, T, K): each with its definition, its fast form, its gradient and its FLOP formula."""

from __future__ import annotations

import importlib
import pkgutil

from anyformer.kernels import status as native_status
from anyformer.kernels import use_native
from anyformer.ops._base import (
    PRIMITIVES,
    UNDER_TRANSFORMS,
    FlopCounter,
    Primitive,
    Spread,
    native_exponential,
    use_definition,
)
from anyformer.ops._gate import Choice, Path, Paths, choices

__all__ = [
    "UNDER_TRANSFORMS",
    "Choice",
    "FlopCounter",
    "Path",
    "Paths",
    "Primitive",
    "Spread",
    "choices",
    "load_all",
    "modules",
    "native_exponential",
    "native_status",
    "use_definition",
    "use_native",
]


def modules() -> list[str]:
    """Modules of this room that may hold ops: files and folders whose name begins with no underscore."""
    return [module.name for module in pkgutil.iter_modules(__path__) if not module.name.startswith("_")]


def load_all() -> dict[str, Primitive]:
    """Every op by name."""
    for module in modules():
        importlib.import_module(f"anyformer.ops.{module}")
    return dict(sorted(PRIMITIVES.items()))
