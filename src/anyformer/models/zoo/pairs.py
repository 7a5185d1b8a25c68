"""Named models of a sequence that continues another: encoder-decoders."""

from __future__ import annotations

from typing import Any

from anyformer.models.names import register_model


@register_model("encoder_decoder")
def encoder_decoder(depth: int = 2) -> dict[str, Any]:
    """The Transformer of Vaswani 2017: a bidirectional encoder, and a decoder that attends to it."""
    return {
        "layers": f"[attention]*{depth}",
        "encoder": f"[attention]*{depth}",
        "positions": "sinusoidal",
        "channel": "mlp(activation=relu)",
        "norm": "layer_norm",
        "residual": "post",
        "embed": "default(scaled=true)",
        "head": "linear(tied=true)",
    }


@register_model("power_law_graph")
def power_law_graph(depth: int = 2) -> dict[str, Any]:
    """An encoder-decoder whose self-attention goes through a metric made of the queries (Gokden 2021)."""
    return {
        "layers": f"[power_law_attention]*{depth}",
        "encoder": f"[power_law_attention]*{depth}",
        "positions": "sinusoidal",
        "channel": "mlp(activation=relu)",
        "norm": "layer_norm",
        "residual": "post",
        "embed": "default(scaled=true)",
    }


@register_model("dynamic_positions")
def dynamic_positions(depth: int = 2) -> dict[str, Any]:
    """An encoder-decoder whose encoder begins with position vectors made from the text (Zheng 2022)."""
    return {
        "layers": f"[attention]*{depth}",
        "encoder": f"[dynamic_positions([attention]), attention*{depth}]",
        "positions": "sinusoidal",
        "channel": "mlp(activation=relu)",
        "norm": "layer_norm",
    }


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
