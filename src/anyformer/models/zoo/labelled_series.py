"""Named models that classify series."""

from __future__ import annotations

from typing import Any

from anyformer.models.names import register_model


@register_model("inceptiontime")
def inceptiontime(depth: int = 3) -> dict[str, Any]:
    """Convolutions of three widths and a maximum side by side, read by their mean (Ismail Fawaz et al. 2020)."""
    return {
        "layers": f"[inception]*{depth}",
        "causal": False,
        "positions": "none",
        "channel": None,
        "norm": "layer_norm",
    }


@register_model("rocket")
def rocket(features: int = 32) -> dict[str, Any]:
    """A linear model of the shares of steps at which fixed kernels respond (Dempster, Schmidt and Webb 2021)."""
    return {
        "layers": "[none]",
        "embed": f"rocket(features={features})",
        "causal": False,
        "positions": "none",
        "channel": None,
        "norm": "none",
    }
