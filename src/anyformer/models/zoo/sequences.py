"""Named models of any sequence: of tokens, numbers or fields."""

from __future__ import annotations

from typing import Any

from anyformer.models.names import register_model


@register_model("transformer")
def transformer(depth: int = 2) -> dict[str, Any]:
    """Causal softmax attention with RoPE, RMSNorm and SwiGLU, the Llama shape."""
    return {"layers": f"[attention]*{depth}"}


@register_model("mamba")
def mamba(depth: int = 4) -> dict[str, Any]:
    """Selective state spaces alone, without channel mixers."""
    return {"layers": f"[mamba]*{depth}", "channel": None}


@register_model("mamba2")
def mamba2(depth: int = 4) -> dict[str, Any]:
    """Selective state spaces with a decay for each head, without channel mixers."""
    return {"layers": f"[mamba2]*{depth}", "channel": None}


@register_model("hydra")
def hydra(depth: int = 2) -> dict[str, Any]:
    """State spaces that run both ways, with an MLP."""
    return {"layers": f"[hydra]*{depth}", "channel": "mlp", "causal": False, "positions": "none"}


@register_model("transmamba")
def transmamba(depth: int = 3, first_point: int = 4) -> dict[str, Any]:
    """Attention up to a token and a state space after it; the switch doubles from layer to layer, over three."""
    layers = [f"transmamba(trans_point={first_point * 2 ** (i % 3)})" for i in range(depth)]
    return {"layers": f"[{', '.join(layers)}]", "positions": "none"}


@register_model("lmuformer")
def lmuformer(depth: int = 2) -> dict[str, Any]:
    """Legendre memory units and MLPs behind a stem of convolutions."""
    layers = f"[conv_stem(channel=none), [lmu]*{depth}]"
    return {"layers": layers, "channel": "mlp", "norm": "layer_norm", "positions": "none"}


@register_model("retnet")
def retnet(depth: int = 2) -> dict[str, Any]:
    """Retention with a feed-forward network."""
    return {"layers": f"[retention]*{depth}", "channel": "mlp(factor=2)"}


@register_model("delta_net")
def delta_net(depth: int = 2) -> dict[str, Any]:
    """The delta rule with short convolutions and SwiGLU."""
    return {"layers": f"[delta_net]*{depth}"}


@register_model("linear_transformer")
def linear_transformer(depth: int = 2) -> dict[str, Any]:
    """Linear attention in the place of softmax attention."""
    return {"layers": f"[linear_attention]*{depth}", "positions": "sinusoidal"}


@register_model("rwkv4")
def rwkv4(depth: int = 2) -> dict[str, Any]:
    """RWKV-4: time mixing and channel mixing, both with token shift."""
    return {
        "layers": f"[rwkv4]*{depth}",
        "channel": "rwkv4_channel",
        "norm": "layer_norm",
        "embed": "default(normed=true)",
    }


@register_model("s4")
def s4(depth: int = 2) -> dict[str, Any]:
    """Structured state spaces with a feed-forward network."""
    return {"layers": f"[s4]*{depth}", "norm": "layer_norm", "channel": "mlp(factor=2)"}


@register_model("hyena")
def hyena(depth: int = 2) -> dict[str, Any]:
    """Gated implicit long convolutions with an MLP."""
    return {"layers": f"[hyena]*{depth}", "norm": "layer_norm", "channel": "mlp"}


@register_model("mega")
def mega(depth: int = 2) -> dict[str, Any]:
    """Gated attention on moving averages; its gate and the residual connection give the paper's output."""
    return {
        "layers": f"[mega]*{depth}",
        "positions": "t5",
        "channel": "mlp(activation=silu, factor=2)",
        "norm": "layer_norm",
        "residual": "post",
    }


@register_model("fox")
def fox(depth: int = 2) -> dict[str, Any]:
    """Softmax attention with forget gates, without position embeddings."""
    return {"layers": f"[fox]*{depth}"}


@register_model("longformer")
def longformer(depth: int = 2) -> dict[str, Any]:
    """Window attention with global tokens."""
    return {"layers": f"[longformer]*{depth}", "channel": "mlp", "norm": "layer_norm"}


@register_model("linformer")
def linformer(depth: int = 2) -> dict[str, Any]:
    """A bidirectional encoder whose keys and values are projected to a fixed number."""
    return {
        "layers": f"[linformer(max_length=512, proj_len=32, sharing=key_value)]*{depth}",
        "causal": False,
        "positions": "none",
        "channel": "mlp",
        "norm": "layer_norm",
    }


@register_model("nystromformer")
def nystromformer(depth: int = 2) -> dict[str, Any]:
    """A bidirectional encoder, BERT's shape, whose attention goes through 64 landmarks."""
    return {
        "layers": f"[nystromformer(bias=true)]*{depth}",
        "causal": False,
        "positions": "learned(max_length=512)",
        "channel": "mlp",
        "norm": "layer_norm",
        "residual": "post",
        "embed": "default(normed=true)",
    }


@register_model("megabyte")
def megabyte(depth: int = 2) -> dict[str, Any]:
    """Two levels: attention over patches of 8 bytes, and attention within each patch."""
    return {"layers": f"two_level([attention]*{depth}, [attention]*{depth}, patch=8)"}


@register_model("avey")
def avey(depth: int = 2) -> dict[str, Any]:
    """Neural processors on short splits of the sequence, each with the most similar earlier splits."""
    return {
        "layers": f"ranker([neural_processor(context_len=64)]*{depth}, split=16, top_k=3)",
        "channel": None,
        "positions": "none",
        "head": "linear(tied=true)",
    }


@register_model("transformer_xl")
def transformer_xl(depth: int = 2) -> dict[str, Any]:
    """Segments with a memory of the one before, and relative positions."""
    return {
        "layers": f"segments([segment_attention(segment_len=64, memory_len=64)]*{depth}, length=64)",
        "positions": "transformer_xl",
        "channel": "mlp(activation=relu)",
        "norm": "layer_norm",
    }


@register_model("activator")
def activator(depth: int = 2) -> dict[str, Any]:
    """Gated linear units alone, without a token mixer: with pooled outputs, a bag of tokens."""
    return {
        "layers": f"[glu(activation=gelu, branch_norm=layer_norm, bias=true)]*{depth}",
        "channel": "mlp",
        "norm": "layer_norm",
        "positions": "none",
    }


@register_model("groupbert")
def groupbert(depth: int = 2) -> dict[str, Any]:
    """Attention, grouped FFN, convolution module, grouped FFN."""
    return {
        "layers": f"[attention, conv_module]*{depth}",
        "channel": "mlp(groups=4)",
        "norm": "layer_norm",
        "positions": "learned",
        "causal": False,
    }


@register_model("tokenformer")
def tokenformer(depth: int = 2) -> dict[str, Any]:
    """All linear maps as attention to parameter tokens."""
    return {"layers": f"[tokenformer]*{depth}", "channel": "pattention", "norm": "layer_norm"}


@register_model("memoryformer")
def memoryformer(depth: int = 2) -> dict[str, Any]:
    """All linear maps but the head as hashed look-ups."""
    return {
        "layers": f"[memoryformer(bits=4)]*{depth}",
        "channel": "memory_layer(bits=4)",
        "norm": "layer_norm",
    }


@register_model("pool_former")
def pool_former(depth: int = 2) -> dict[str, Any]:
    """Average pooling over a few neighbours as the only token mixer."""
    return {"layers": f"[pooling]*{depth}", "channel": "mlp", "norm": "layer_norm"}


@register_model("macaron")
def macaron(depth: int = 2) -> dict[str, Any]:
    """Half a feed-forward step on each side of attention."""
    return {
        "layers": f"[attention]*{depth}",
        "channel": "mlp(factor=2, activation=relu)",
        "pattern": "channel/2+mixer+channel/2",
        "norm": "layer_norm",
    }


@register_model("primer")
def primer(depth: int = 2) -> dict[str, Any]:
    """Primer-EZ: attention with short convolutions behind its projections, and a squared ReLU."""
    return {
        "layers": f"[attention(conv_width=3)]*{depth}",
        "positions": "t5",
        "channel": "mlp(activation=relu2)",
    }


@register_model("all_attention")
def all_attention(depth: int = 2) -> dict[str, Any]:
    """Attention alone, with learned keys and values in place of the feed-forward network."""
    return {
        "layers": f"[attention(num_memories=128)]*{depth}",
        "channel": None,
        "norm": "layer_norm",
        "residual": "post",
    }


@register_model("aaren")
def aaren(depth: int = 2) -> dict[str, Any]:
    """Attention with a learned query, run as a recurrence."""
    return {"layers": f"[aaren]*{depth}"}


@register_model("mixture_of_depths")
def mixture_of_depths(depth: int = 2) -> dict[str, Any]:
    """A transformer in which every second block sees only the tokens that a router picks."""
    pair = "attention, mixture_of_depths([attention])"
    return {"layers": f"[{pair}]*{max(1, depth // 2)}"}


@register_model("cross_layer_attention")
def cross_layer_attention(depth: int = 2) -> dict[str, Any]:
    """A transformer in which every second layer uses the keys and values of the one below."""
    pairs = [f"attention(provides_kv=l{i}), attention(reuses_kv=l{i})" for i in range(max(1, depth // 2))]
    return {"layers": f"[{', '.join(pairs)}]"}


@register_model("transnormer")
def transnormer(depth: int = 2) -> dict[str, Any]:
    """Softmax within blocks in the lower half, linear attention with a norm instead of a denominator above."""
    low = max(1, depth // 2)
    upper = f", linear_attention(normalize=rms_norm)*{depth - low}" if depth > low else ""
    return {
        "layers": f"[diag_attention*{low}{upper}]",
        "positions": "sinusoidal",
        "channel": "glu(activation=silu)",
    }


@register_model("hgrn2")
def hgrn2(depth: int = 2) -> dict[str, Any]:
    """HGRN2 with SwiGLU; the least decays rise from layer to layer."""
    upper = [f", hgrn2(lower_bound={layer / depth:.4g})" for layer in range(1, depth)]
    return {"layers": f"[hgrn2{''.join(upper)}]"}


@register_model("flowformer")
def flowformer(depth: int = 2) -> dict[str, Any]:
    """Flow attention in the place of softmax attention."""
    return {
        "layers": f"[flow_attention]*{depth}",
        "positions": "sinusoidal",
        "channel": "mlp",
        "norm": "layer_norm",
    }


@register_model("fastformer")
def fastformer(depth: int = 2) -> dict[str, Any]:
    """A bidirectional encoder by additive attention."""
    return {
        "layers": f"[fastformer]*{depth}",
        "causal": False,
        "positions": "learned",
        "channel": "mlp",
        "norm": "layer_norm",
    }


@register_model("qrnn_transformer")
def qrnn_transformer(depth: int = 3) -> dict[str, Any]:
    """Quasi-recurrent layers with attention in every third, counted from the top."""
    names = ["attention" if (depth - 1 - layer) % 3 == 0 else "qrnn" for layer in range(depth)]
    return {"layers": f"[{', '.join(names)}]"}


@register_model("meta_state")
def meta_state(depth: int = 2) -> dict[str, Any]:
    """RWKV-7 whose state takes the place of the feed-forward network, in half of the heads."""
    return {
        "layers": f"[rwkv7(state_heads=2)]*{depth}",
        "channel": None,
        "norm": "layer_norm",
        "embed": "default(normed=true)",
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
