"""Named models of images, films and other grids."""

from __future__ import annotations

from typing import Any

from anyformer.layers.grid import read_grid
from anyformer.models.names import register_model


@register_model("mamba_nd")
def mamba_nd(depth: int = 4, grid: str | int = 8) -> dict[str, Any]:
    """Mamba over a grid: along each axis in turn, forwards and backwards.

    ``grid`` is all axes but the first: 8 for images 8 wide, ``"4x8"`` for videos with frames of 4 x 8.
    """
    n = len(read_grid(grid)) + 1
    orders = ["-".join(str((axis - turn) % n) for axis in range(n)) for turn in range(n)]
    ways = [f"axes={axes}{back}" for axes in orders for back in ("", ", reverse=true")]
    layers = [f"order([mamba(causal=true)], grid={grid}, {ways[i % len(ways)]})" for i in range(depth)]
    return {"layers": f"[{', '.join(layers)}]", "channel": None, "causal": False, "positions": "none"}


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


@register_model("vit")
def vit(depth: int = 2) -> dict[str, Any]:
    """Attention between the patches of an image, at learned positions of rows and columns (Dosovitskiy et al. 2021).

    Their appendix finds positions by rows and columns as good as one for each patch; the head reads the mean of the
    patches, as good as a class token (their appendix D.3).
    """
    return {
        "layers": f"[attention(bias=true)]*{depth}",
        "causal": False,
        "positions": "axial",
        "channel": "mlp",
        "norm": "layer_norm",
    }


@register_model("convnext")
def convnext(depth: int = 3) -> dict[str, Any]:
    """Convolutions of each channel over 7 x 7 patches, and MLPs, of one width (Liu et al. 2022, isotropic)."""
    return {
        "layers": f"[depthwise_conv]*{depth}",
        "causal": False,
        "positions": "none",
        "channel": "mlp",
        "norm": "layer_norm",
    }


@register_model("pyramid")
def pyramid(depth: int = 1, stages: int = 3, mixer: str = "depthwise_conv") -> dict[str, Any]:
    """Stages on ever coarser and wider grids, ``depth`` layers of a mixer in each."""
    if stages < 2:
        raise ValueError(f"stages must be at least 2, got {stages}")
    return {
        "layers": f"pyramid({', '.join([f'[{mixer}]*{depth}'] * stages)})",
        "causal": False,
        "positions": "none",
        "channel": "mlp",
        "norm": "layer_norm",
    }
