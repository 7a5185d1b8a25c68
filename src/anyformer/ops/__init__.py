"""Functions on tensors (B, H, T, K): each with its definition, its fast form, its gradient and its FLOP formula."""

from __future__ import annotations

import importlib

from anyformer.kernels import status as native_status
from anyformer.kernels import use_native
from anyformer.ops._base import (
    PRIMITIVES,
    UNDER_TRANSFORMS,
    FlopCounter,
    Path,
    Primitive,
    Spread,
    native_exponential,
    use_definition,
)

__all__ = [
    "UNDER_TRANSFORMS",
    "FlopCounter",
    "Path",
    "Primitive",
    "Spread",
    "load_all",
    "native_exponential",
    "native_status",
    "use_definition",
    "use_native",
]

MODULES = (
    "attention",
    "bucket_attention",
    "delta_rule",
    "general_delta_rule",
    "gathered_attention",
    "linear_attention",
    "linear",
    "log_linear_attention",
    "long_conv",
    "lstm",
    "rms_norm",
    "rotate",
    "scan",
    "selective_scan",
    "short_conv",
    "softmax_scan",
    "sparse_attention",
    "swiglu",
    "vector_quantize",
)


def load_all() -> dict[str, Primitive]:
    """Every op by name."""
    for module in MODULES:
        importlib.import_module(f"anyformer.ops.{module}")
    return dict(sorted(PRIMITIVES.items()))
