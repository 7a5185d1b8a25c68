"""Named models of rows of tables, whose columns have no order: each is a token, unless a model says otherwise."""

from __future__ import annotations

from typing import Any

from anyformer.models.names import register_model


@register_model("ft_transformer")
def ft_transformer(depth: int = 2) -> dict[str, Any]:
    """Each column as a token, and attention between them: FT-Transformer (Gorishniy et al. 2021, section 3.3)."""
    return {
        "layers": f"[attention]*{depth}",
        "causal": False,
        "positions": "none",
        "norm": "layer_norm",
        "dropout": 0.1,
    }


@register_model("tabular_resnet")
def tabular_resnet(depth: int = 2) -> dict[str, Any]:
    """A linear map of all columns, and MLPs that add to it (Gorishniy et al. 2021, section 3.2: ResNet)."""
    return {
        "layers": f"[none]*{depth}",
        "embed": "field_sum",
        "causal": False,
        "positions": "none",
        "channel": "mlp",
        "norm": "layer_norm",
        "dropout": 0.1,
    }


@register_model("additive")
def additive(depth: int = 2) -> dict[str, Any]:
    """A sum of functions of one column each, by an MLP that all share: an additive model (Agarwal et al. 2021)."""
    return {
        "layers": f"[none]*{depth}",
        "causal": False,
        "positions": "none",
        "channel": "mlp",
        "norm": "none",
    }
