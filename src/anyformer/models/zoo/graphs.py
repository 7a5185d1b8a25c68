"""Named models of graphs."""

from __future__ import annotations

from typing import Any

from anyformer.models.names import register_model


@register_model("graphormer")
def graphormer(depth: int = 2) -> dict[str, Any]:
    """Attention between the nodes of a graph, with biases by edges and shortest paths (Ying et al. 2021)."""
    return {
        "layers": f"[graph_attention]*{depth}",
        "causal": False,
        "positions": "none",
        "channel": "mlp",
        "norm": "layer_norm",
    }


@register_model("gin")
def gin(depth: int = 3) -> dict[str, Any]:
    """Sums over the neighbours of each node of a graph, with an MLP (Xu et al. 2019)."""
    return {
        "layers": f"[message_passing]*{depth}",
        "causal": False,
        "positions": "none",
        "channel": "mlp(activation=relu, factor=2)",
        "norm": "layer_norm",
    }


@register_model("gps")
def gps(depth: int = 2) -> dict[str, Any]:
    """Message passing beside attention between all nodes, and an MLP (Rampášek et al. 2022)."""
    return {
        "layers": f"[beside([message_passing], [attention])]*{depth}",
        "causal": False,
        "positions": "none",
        "channel": "mlp(activation=relu, factor=2)",
        "norm": "layer_norm",
    }
