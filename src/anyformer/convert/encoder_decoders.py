"""Encoder-decoders of transformers, each as a spec and a table: LED, LongT5 and PEGASUS-X."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from anyformer.convert.architectures import ACTIVATIONS, Config, Source, need, only, scaled


@dataclass(frozen=True)
class EncoderDecoderArchitecture:
    """One encoder-decoder of transformers. Other attributes are as in :class:`Architecture`.

    Attributes:
        fields: from its config, all fields of a spec.
        encoder: our modules and parameters inside a layer of the encoder, each with the peer's; {mixer} and {channel}
            stand for the numbers of our sublayers.
        decoder: the same in a layer of the decoder, where {cross} stands for cross-attention.
        blocks: prefixes of the keys of an encoder's and a decoder's layer; {layer} stands for its number.
        depths: the config's names for the numbers of layers of encoder and decoder.
        head: name of the peer's output matrix.
        tied_head: name of the tensor that replaces it in checkpoints that lack it.
        embed: name of our embedding.
    """

    fields: Callable[[Config], dict[str, Any]]
    whole: Mapping[str, str | Source]
    encoder: Mapping[str, str | Source]
    decoder: Mapping[str, str | Source]
    blocks: tuple[str, str]
    base: str
    depths: tuple[str, str] = ("encoder_layers", "decoder_layers")
    head: str = "lm_head"
    tied_head: str = "shared.weight"
    embed: str = "embed.weight"
    vocab: str = "vocab_size"
    unused: str = r"(encoder|decoder)\.embed_tokens\.weight$"

    def spec(self, config: Config) -> dict[str, Any]:
        """Return the fields of the spec."""
        return self.fields(config)

    def short(self, key: str) -> str:
        """Return a tensor's name as it stands in the table, which has one name for T5's variants of a layer."""
        key = re.sub(
            r"\.(Local|TransientGlobal)SelfAttention\.", ".SelfAttention.", key.removeprefix(self.base)
        )
        return key.replace(".DenseReluDense.wi.", ".DenseReluDense.wi_1.")

    def is_unused(self, key: str) -> bool:
        """True if a tensor of the checkpoint is of no use here."""
        return re.search(self.unused, key) is not None

    def sources(self, config: Config) -> dict[str, Source]:
        """Return the table with its layers written out."""
        table = {ours: scaled(theirs, config, 0) for ours, theirs in self.whole.items()}
        stacks = (("encoder", self.encoder, 2), ("body", self.decoder, 3))
        for (stack, layers, width), blocks, depth in zip(stacks, self.blocks, self.depths, strict=True):
            for layer in range(need(config, depth)):
                numbers = {
                    "mixer": layer * width,
                    "cross": layer * width + 1,
                    "channel": (layer + 1) * width - 1,
                }
                for ours, theirs in layers.items():
                    source = scaled(theirs, config, layer).under(blocks.format(layer=layer))
                    table[f"{stack}.stack.{ours.format(**numbers)}"] = source
        return table


def _stacked(*parts: Tensor) -> Tensor:
    """Concatenate matrices or biases on their output axis: one map to all outputs."""
    return torch.cat(parts)


def _root(name: str) -> Callable[[Config, int], float]:
    """Return a scale that is the square root of a number in the config."""
    return lambda config, layer: float(need(config, name)) ** 0.5


def _attention(theirs: str, out: str, mixer: str = "mixer") -> dict[str, str | Source]:
    """Return the table of self-attention with separate projections for queries, keys and values."""
    names = {"q": "q_proj", "k": "k_proj", "v": "v_proj"}
    return {
        **{f"sublayers.{{{mixer}}}.{ours}": f"{theirs}.{name}" for ours, name in names.items()},
        f"sublayers.{{{mixer}}}.out": f"{theirs}.{out}",
    }


def _cross(theirs: str, names: tuple[str, str, str, str], scale: Any = None) -> dict[str, str | Source]:
    q, k, v, out = (f"{theirs}.{name}" for name in names)
    return {
        "sublayers.{cross}.q": Source(q, scale=scale),
        "sublayers.{cross}.kv": Source((k, v), _stacked),
        "sublayers.{cross}.out": out,
    }


_BART = ("q_proj", "k_proj", "v_proj", "out_proj")


def _mlp(config: Config, hidden: str) -> dict[str, Any]:
    only(config, "activation_function", *ACTIVATIONS)
    activation = ACTIVATIONS[config.get("activation_function", "gelu")]
    return {"name": "mlp", "options": {"hidden_dim": need(config, hidden), "activation": activation}}


def _bart_fields(config: Config, encoder: list[dict[str, Any]], bias: bool) -> dict[str, Any]:
    """Return the fields that LED and PEGASUS-X have in common."""
    heads = {"num_heads": need(config, "decoder_attention_heads"), "bias": bias}
    channels = [_mlp(config, f"{side}_ffn_dim") for side in ("encoder", "decoder")]
    for part in encoder:
        part["options"]["channel"] = channels[0]
    layer = {"name": "attention", "options": {**heads, "channel": channels[1]}}
    return {
        "dim": need(config, "d_model"),
        "encoder": {"layers": encoder, "cross": {"name": "cross_attention", "options": heads}},
        "layers": [layer] * need(config, "decoder_layers"),
        "norm": "layer_norm",
    }


_BART_DECODER = {
    **_attention("self_attn", "out_proj"),
    "residual.norms.{mixer}": "self_attn_layer_norm",
    **_cross("encoder_attn", _BART),
    "residual.norms.{cross}": "encoder_attn_layer_norm",
    "sublayers.{channel}.up": "fc1",
    "sublayers.{channel}.down": "fc2",
    "residual.norms.{channel}": "final_layer_norm",
}

# ---- LED ------------------------------------------------------------------------------------------------


def _led_fields(config: Config) -> dict[str, Any]:
    depth, windows = need(config, "encoder_layers"), need(config, "attention_window")
    windows = [windows] * depth if isinstance(windows, int) else windows
    heads = need(config, "encoder_attention_heads")
    encoder = [
        {
            "name": "longformer",
            "options": {
                "num_heads": heads,
                "window": window // 2 + 1,
                "num_global": 0,
                "max_global": max(windows),
                "bias": True,
            },
        }
        for window in windows
    ]
    learned = [
        {"name": "learned", "options": {"max_length": need(config, f"max_{side}_position_embeddings")}}
        for side in ("encoder", "decoder")
    ]
    fields = _bart_fields(config, encoder, bias=True)
    return {
        **fields,
        "encoder": {**fields["encoder"], "positions": learned[0]},
        "positions": learned[1],
        "residual": "post",
        "embed": "default(normed=true)",
        "head": "linear(bias=true)",
    }


_LED_SELF = "self_attn.longformer_self_attn."
LED = EncoderDecoderArchitecture(
    fields=_led_fields,
    base="led.",
    blocks=("encoder.layers.{layer}.", "decoder.layers.{layer}."),
    whole={
        "embed": "shared",
        "encoder.embed.weight": "encoder.embed_positions.weight",
        "body.embed.weight": "decoder.embed_positions.weight",
        "encoder.embed_norm": "encoder.layernorm_embedding",
        "body.embed_norm": "decoder.layernorm_embedding",
        "head.weight": "lm_head.weight",
        "head.bias": Source("final_logits_bias", Tensor.flatten),
    },
    encoder={
        "sublayers.{mixer}.qkv": Source(tuple(_LED_SELF + n for n in ("query", "key", "value")), _stacked),
        "sublayers.{mixer}.global_qkv": Source(
            tuple(f"{_LED_SELF}{n}_global" for n in ("query", "key", "value")), _stacked
        ),
        "sublayers.{mixer}.out": "self_attn.output",
        "residual.norms.{mixer}": "self_attn_layer_norm",
        "sublayers.{channel}.up": "fc1",
        "sublayers.{channel}.down": "fc2",
        "residual.norms.{channel}": "final_layer_norm",
    },
    decoder=_BART_DECODER,
)

# ---- PEGASUS-X ------------------------------------------------------------------------------------------


def _pegasus_fields(config: Config) -> dict[str, Any]:
    num_global, block = need(config, "num_global_tokens"), need(config, "block_size")
    staggers = config.get("stagger_local_blocks", True)
    encoder = [
        {
            "name": "block_attention",
            "options": {
                "num_heads": need(config, "encoder_attention_heads"),
                "block": block,
                "stagger": bool(staggers and layer % 2),
                "num_global": num_global,
            },
        }
        for layer in range(need(config, "encoder_layers"))
    ]
    return {
        **_bart_fields(config, encoder, bias=False),
        "positions": {"name": "sinusoidal", "options": {"halves": True}},
        "prefix": num_global,
    }


def _embed_scale(config: Config, layer: int) -> float:
    return float(need(config, "d_model")) ** 0.5 if config.get("scale_embedding", True) else 1.0


def _global_scale(own: Tensor, theirs: Tensor) -> Tensor:
    """Return the scale that turns the output of the tokens' norm into that of the global tokens' norm."""
    return own / theirs


def _global_shift(own: Tensor, own_bias: Tensor, theirs: Tensor, bias: Tensor) -> Tensor:
    return own_bias - bias * own / theirs


_NORMS = ("global_self_attn_layer_norm", "self_attn_layer_norm")
PEGASUS_X = EncoderDecoderArchitecture(
    fields=_pegasus_fields,
    base="model.",
    blocks=("encoder.layers.{layer}.", "decoder.layers.{layer}."),
    whole={
        "embed": Source("shared", scale=_embed_scale),
        "encoder.prefix": "encoder.embed_global.weight",
        "encoder.stack.residual.last": "encoder.layer_norm",
        "body.stack.residual.last": "decoder.layer_norm",
        "head": "lm_head",
    },
    encoder={
        **_attention("self_attn", "out_proj"),
        "sublayers.{mixer}.global_scale": Source(tuple(f"{n}.weight" for n in _NORMS), _global_scale),
        "sublayers.{mixer}.global_shift": Source(
            tuple(f"{n}.{leaf}" for n in _NORMS for leaf in ("weight", "bias")), _global_shift
        ),
        "residual.norms.{mixer}": "self_attn_layer_norm",
        "sublayers.{channel}.up": "fc1",
        "sublayers.{channel}.down": "fc2",
        "residual.norms.{channel}": "final_layer_norm",
    },
    decoder=_BART_DECODER,
)

# ---- LongT5 ---------------------------------------------------------------------------------------------

_T5_FORWARD = {"relu": "relu", "gated-gelu": "gelu_tanh", "gated-silu": "silu", "gated-relu": "relu"}


def _longt5_fields(config: Config) -> dict[str, Any]:
    only(config, "feed_forward_proj", "relu", *_T5_FORWARD)
    only(config, "encoder_attention_type", "local", "transient-global")
    forward = config.get("feed_forward_proj", "relu")
    channel = {
        "name": "glu" if forward.startswith("gated") else "mlp",
        "options": {"hidden_dim": need(config, "d_ff"), "activation": _T5_FORWARD[forward], "bias": False},
    }
    heads = {"num_heads": need(config, "num_heads"), "head_dim": need(config, "d_kv")}
    buckets = {
        "num_buckets": config.get("relative_attention_num_buckets", 32),
        "max_distance": config.get("relative_attention_max_distance", 128),
    }
    window = need(config, "local_radius") + 1
    if config.get("encoder_attention_type", "local") == "local":
        both_ways = {"name": "t5", **buckets, "bidirectional": True}
        part = {"name": "attention", "options": {**heads, "window": window, "positions": both_ways}}
    else:
        eps = config.get("layer_norm_epsilon", 1e-6)
        options = {**heads, **buckets, "window": window, "norm_eps": eps}
        part = {
            "name": "transient_global",
            "options": {**options, "block": need(config, "global_block_size")},
        }
    return {
        "dim": need(config, "d_model"),
        "encoder": {
            "layers": [part] * need(config, "num_layers"),
            "cross": {"name": "cross_attention", "options": heads},
        },
        "layers": [{"name": "attention", "options": heads}] * need(config, "num_decoder_layers"),
        "channel": channel,
        "norm": "rms_norm",
        "norm_eps": config.get("layer_norm_epsilon", 1e-6),
        "positions": {"name": "t5", "options": buckets},
    }


def _t5_attention(theirs: str) -> dict[str, str | Source]:
    """Return the table of T5's self-attention, whose scores are not scaled: the queries are multiplied by sqrt(K)."""
    return {
        "sublayers.{mixer}.q": Source(f"{theirs}.q", scale=_root("d_kv")),
        "sublayers.{mixer}.k": f"{theirs}.k",
        "sublayers.{mixer}.v": f"{theirs}.v",
        "sublayers.{mixer}.out": f"{theirs}.o",
        "residual.norms.{mixer}": "layer.0.layer_norm",
    }


def _t5_channel(number: int) -> dict[str, str | Source]:
    dense = f"layer.{number}.DenseReluDense"
    return {
        "sublayers.{channel}.gate": f"{dense}.wi_0",
        "sublayers.{channel}.up": f"{dense}.wi_1",
        "sublayers.{channel}.down": f"{dense}.wo",
        "residual.norms.{channel}": f"layer.{number}.layer_norm",
    }


def _head_scale(config: Config, layer: int) -> float:
    """Return 1 / sqrt(D) if the output matrix is the embedding, in which case T5 scales the decoder's output so."""
    scales = config.get("scale_decoder_outputs", config.get("tie_word_embeddings", True))
    return float(need(config, "d_model")) ** -0.5 if scales else 1.0


_BIAS = "block.0.layer.0.SelfAttention.relative_attention_bias"
LONGT5 = EncoderDecoderArchitecture(
    fields=_longt5_fields,
    base="",
    depths=("num_layers", "num_decoder_layers"),
    blocks=("encoder.block.{layer}.", "decoder.block.{layer}."),
    whole={
        "embed": "shared",
        "encoder.stack.residual.last": "encoder.final_layer_norm",
        "body.stack.residual.last": "decoder.final_layer_norm",
        "head": Source("lm_head", scale=_head_scale),
    },
    encoder={  # all layers share the position biases of the first one
        **_t5_attention("layer.0.SelfAttention"),
        "sublayers.{mixer}.positions": f"/encoder.{_BIAS}",
        "sublayers.{mixer}.near": f"/encoder.{_BIAS}",
        "sublayers.{mixer}.far": f"/encoder.{_BIAS.replace('relative', 'global_relative')}",
        "sublayers.{mixer}.norm": "layer.0.SelfAttention.global_input_layer_norm",
        **_t5_channel(1),
    },
    decoder={
        **_t5_attention("layer.0.SelfAttention"),
        "sublayers.{mixer}.positions": f"/decoder.{_BIAS}",
        **_cross("layer.1.EncDecAttention", ("q", "k", "v", "o"), _root("d_kv")),
        "residual.norms.{cross}": "layer.1.layer_norm",
        **_t5_channel(2),
    },
)

ENCODER_DECODERS = {"led": LED, "longt5": LONGT5, "pegasus_x": PEGASUS_X}
