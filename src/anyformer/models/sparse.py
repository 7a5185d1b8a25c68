"""Named models of fixed sparse patterns: functions from a depth to the fields of a spec."""

from __future__ import annotations

from typing import Any

from anyformer.layers.grid import read_grid
from anyformer.models.names import register_model


@register_model("sparse_transformer")
def sparse_transformer(depth: int = 2, grid: int = 8) -> dict[str, Any]:
    """Local and strided attention in turn, on images of ``grid`` columns."""
    parts = [f"sparse_attention(stride={grid}, part={part})" for part in ("local", "far")]
    return {
        "layers": f"[{', '.join(parts[layer % 2] for layer in range(depth))}]",
        "positions": f"axial(grid={grid})",
        "channel": "mlp",
        "norm": "layer_norm",
        "scaled_init": True,
    }


@register_model("masformer")
def masformer(depth: int = 4) -> dict[str, Any]:
    """Attention to everything in every fourth layer, to a window in the others."""
    spans = ["attention" if layer % 4 == 1 else "attention(window=16)" for layer in range(depth)]
    return {"layers": f"[{', '.join(spans)}]"}


@register_model("longnet")
def longnet(depth: int = 2) -> dict[str, Any]:
    """Dilated attention over segments of 16, 64 and 256 tokens."""
    return {"layers": f"[dilated_attention(segments=16/1+64/4+256/16)]*{depth}"}


@register_model("led")
def led(depth: int = 2) -> dict[str, Any]:
    """An encoder of windows and global tokens, and a decoder that attends to all of it."""
    return {
        "layers": f"[attention]*{depth}",
        "encoder": f"[longformer(window=16)]*{depth}",
        "positions": "learned(max_length=1024)",
        "channel": "mlp",
        "norm": "layer_norm",
        "residual": "post",
        "embed": "default(normed=true)",
        "head": "linear(bias=true)",
    }


@register_model("longt5")
def longt5(depth: int = 2) -> dict[str, Any]:
    """T5 whose encoder sees a window and the sums of blocks."""
    return {
        "layers": f"[attention]*{depth}",
        "encoder": f"[transient_global(window=16, block=8)]*{depth}",
        "positions": "t5",
        "channel": "glu(activation=gelu_tanh)",
    }


@register_model("pegasus_x")
def pegasus_x(depth: int = 2) -> dict[str, Any]:
    """An encoder of blocks, staggered in every other layer, with global tokens of its own."""
    local = "block_attention(block=16, num_global=4)"
    staggered = "block_attention(block=16, num_global=4, stagger=true)"
    return {
        "layers": f"[attention]*{depth}",
        "encoder": f"[{', '.join(staggered if layer % 2 else local for layer in range(depth))}]",
        "prefix": 4,
        "positions": "sinusoidal(halves=true)",
        "channel": "mlp(activation=relu)",
        "norm": "layer_norm",
    }


@register_model("dinat")
def dinat(depth: int = 2, grid: int = 8) -> dict[str, Any]:
    """Neighbourhood attention on images of ``grid`` columns, near and dilated in turn."""
    dilations = [2 if layer % 2 else 1 for layer in range(depth)]
    parts = [f"neighborhood_attention(window=3, dilation={d}, grid={grid})" for d in dilations]
    return {
        "layers": f"[{', '.join(parts)}]",
        "causal": False,
        "positions": "none",
        "channel": "mlp",
        "norm": "layer_norm",
    }


@register_model("axial_transformer")
def axial_transformer(depth: int = 1, grid: int = 8) -> dict[str, Any]:
    """Images of ``grid`` columns: attention along rows and columns of the pixels above, then along the row so far."""
    outer = f"axial(axis=1, causal=false, grid={grid}), axial(axis=0, grid={grid})"
    return {
        "layers": f"axial_decoder([{outer}]*{depth}, [attention]*{depth}, columns={grid})",
        "positions": f"axial(grid={grid})",
        "channel": "mlp",
        "norm": "layer_norm",
    }


@register_model("ifactformer")
def ifactformer(depth: int = 4, grid: int | str = 8) -> dict[str, Any]:
    """One block of factorised attention, iterated ``depth`` times by steps of 1 / depth, on fields of ``grid`` columns.

    ``grid`` is all axes of the field but the first: ``"4x8"`` for a field of three axes.
    """
    axes = len(read_grid(grid)) + 1
    return {
        "layers": f"[factorized_attention@block(grid={grid})]*{depth}",
        "channel": None,
        "pattern": f"mixer/{depth}",
        "norm": "none",
        "positions": f"learnable_fourier(axes={axes}, grid={grid})",
        "causal": False,
    }
