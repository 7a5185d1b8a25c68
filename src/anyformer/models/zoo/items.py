"""Named models of what somebody chose, item after item: clicks, ratings, purchases."""

from __future__ import annotations

from typing import Any

from anyformer.models.names import register_model


@register_model("sasrec")
def sasrec(depth: int = 2, max_length: int = 128) -> dict[str, Any]:
    """Causal attention over what was chosen, learned positions, narrow MLPs and dropout (Kang and McAuley 2018)."""
    return {
        "layers": f"[attention(num_heads=1)]*{depth}",
        "causal": True,
        "positions": f"learned(max_length={max_length})",
        "channel": "mlp(activation=relu, factor=1)",
        "norm": "layer_norm",
        "embed": "default(scaled=true)",
        "dropout": 0.2,
    }


@register_model("neighbour_rnn")
def neighbour_rnn(depth: int = 2, longest: int = 64) -> dict[str, Any]:
    """A gated recurrence beside counts of what goes with the items before (Deshpande and Karypis 2004)."""
    return {
        "layers": f"[hgrn2]*{depth}",
        "causal": True,
        "head": f"neighbours(longest={longest})",
        "dropout": 0.2,
    }


@register_model("hstu")
def hstu(depth: int = 2) -> dict[str, Any]:
    """Gated attention by SiLU without a softmax, with dropout and no feed-forward network (Zhai et al. 2024)."""
    return {
        "layers": f"[hstu(num_heads=2)]*{depth}",
        "causal": True,
        "positions": "t5",
        "channel": None,
        "norm": "layer_norm",
        "dropout": 0.2,
    }
