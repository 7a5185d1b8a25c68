"""Named models of fixed sparse patterns: each a function from a depth to the fields of a spec."""

from __future__ import annotations

from typing import Any

from anyformer.models import register_model


@register_model("sparse_transformer", papers=["sparse-transformer"])
def sparse_transformer(depth: int = 2) -> dict[str, Any]:
    """Local and strided attention in turn, on images of 8 columns."""
    parts = [f"sparse_attention(stride=8, part={part})" for part in ("local", "far")]
    return {
        "layers": f"[{', '.join(parts[layer % 2] for layer in range(depth))}]",
        "positions": "axial(grid=8)",
        "channel": "mlp",
        "norm": "layer_norm",
        "scaled_init": True,
    }


@register_model("masformer", papers=["masformer"])
def masformer(depth: int = 4) -> dict[str, Any]:
    """Attention to everything in every fourth layer, to a window in the others."""
    spans = ["attention" if layer % 4 == 1 else "attention(window=16)" for layer in range(depth)]
    return {"layers": f"[{', '.join(spans)}]"}


@register_model("longnet", papers=["longnet"])
def longnet(depth: int = 2) -> dict[str, Any]:
    """Dilated attention over segments of 16, 64 and 256 tokens."""
    return {"layers": f"[dilated_attention(segments=16/1+64/4+256/16)]*{depth}"}
