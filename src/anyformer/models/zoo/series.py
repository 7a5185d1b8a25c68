"""Named models of windows of series, which are read whole and forecast at once."""

from __future__ import annotations

from typing import Any

from anyformer.models.names import register_model

LINEAR = {"layers": "[none]", "channel": None, "norm": "none", "positions": "none", "causal": False}
"""A model without layers, whose head reads the embedded input."""
ENCODER = {
    "causal": False,
    "positions": "none",
    "channel": "mlp",
    "norm": "layer_norm",
    "residual": "post",
}
"""The encoder of Vaswani 2017, without positions."""


@register_model("dlinear")
def dlinear(trend: int = 25) -> dict[str, Any]:
    """Linear maps of the trend and the rest of each series to its next values, of rank ``dim`` (Zeng et al. 2023)."""
    return {**LINEAR, "embed": f"variates(columns=targets, trend={trend})"}


@register_model("nlinear")
def nlinear() -> dict[str, Any]:
    """A linear map of each series less its last value to its next values, of rank ``dim`` (Zeng et al. 2023)."""
    return {**LINEAR, "embed": "variates(columns=targets, less_last=true)"}


@register_model("patchtst")
def patchtst(depth: int = 2) -> dict[str, Any]:
    """Attention between patches of each series by itself; a head reads all of them (Nie et al. 2023)."""
    layers = f"[axial(inner=attention, axis=1)]*{depth}"
    return {**ENCODER, "layers": layers, "embed": "series_patches(columns=targets)"}


@register_model("nhits")
def nhits(coarsest: int = 8, rates: int = 3) -> dict[str, Any]:
    """MLPs on each series at several rates, each on what coarser ones leave of it (after Challu et al. 2023)."""
    options = f"columns=targets, less_last=true, coarsest={coarsest}, rates={rates}"
    return {**LINEAR, "embed": f"multirate({options})"}


@register_model("itransformer")
def itransformer(depth: int = 2) -> dict[str, Any]:
    """Attention between the series of a window, each of which is a token (Liu et al. 2023)."""
    return {**ENCODER, "layers": f"[attention]*{depth}", "embed": "variates"}


@register_model("tsmixer")
def tsmixer(depth: int = 2, columns: str = "targets") -> dict[str, Any]:
    """Gated MLPs across the patches of each series and across features; with ``columns=all`` across columns too.

    IBM's TSMixer (Ekambaram et al. 2023), with a norm behind the last layer.
    """
    across = "axis_mlp(axis=0, gate=before, channel=none), " if columns == "all" else ""
    return {
        "layers": f"[{across}axis_mlp(axis=1, gate=after)]*{depth}",
        "embed": f"series_patches(columns={columns}, positions=false)",
        "causal": False,
        "positions": "none",
        "channel": "mlp(factor=2, gate=true)",
        "norm": "layer_norm",
    }
