"""Language models of transformers, each as a spec and a table: Llama, Mistral, GPT-2, Mamba, Mamba-2 and RWKV-4."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from torch import Tensor

from anyformer.convert.architectures import (
    ACTIVATIONS,
    Architecture,
    Config,
    Source,
    need,
    only,
    rope_options,
)

# ---- Llama and Mistral ----------------------------------------------------------------------------------


def _llama_fields(config: Config) -> tuple[dict[str, Any], dict[str, Any]]:
    only(config, "hidden_act", "silu")
    only(config, "pretraining_tp", 1, None)
    attention = {
        "num_heads": need(config, "num_attention_heads"),
        "num_kv_heads": config.get("num_key_value_heads"),
        "head_dim": config.get("head_dim"),
        "bias": config.get("attention_bias", False),
    }
    if config["model_type"] == "mistral":
        attention["window"] = config.get("sliding_window", 4096)
    channel = {"hidden_dim": need(config, "intermediate_size"), "bias": config.get("mlp_bias", False)}
    return {"name": "attention", "options": attention}, {
        "dim": need(config, "hidden_size"),
        "channel": {"name": "swiglu", "options": channel},
        "norm": "rms_norm",
        "norm_eps": config.get("rms_norm_eps", 1e-6),
        "positions": rope_options(config),
    }


LLAMA = Architecture(
    fields=_llama_fields,
    base="model.",
    blocks="layers.{layer}.",
    unused=r"rotary_emb\.inv_freq$",
    whole={
        "embed": "embed_tokens",
        "body.stack.residual.last": "norm",
        "head": "lm_head",
    },
    layer={
        "residual.norms.{mixer}": "input_layernorm",
        "sublayers.{mixer}.q": "self_attn.q_proj",
        "sublayers.{mixer}.k": "self_attn.k_proj",
        "sublayers.{mixer}.v": "self_attn.v_proj",
        "sublayers.{mixer}.out": "self_attn.o_proj",
        "residual.norms.{channel}": "post_attention_layernorm",
        "sublayers.{channel}.gate": "mlp.gate_proj",
        "sublayers.{channel}.up": "mlp.up_proj",
        "sublayers.{channel}.down": "mlp.down_proj",
    },
)

# ---- GPT-2 ----------------------------------------------------------------------------------------------


def _gpt2_fields(config: Config) -> tuple[dict[str, Any], dict[str, Any]]:
    D = need(config, "n_embd")
    only(config, "activation_function", *ACTIVATIONS)
    only(config, "add_cross_attention", False)
    channel = {
        "hidden_dim": config.get("n_inner") or 4 * D,
        "activation": ACTIVATIONS[config.get("activation_function", "gelu_new")],
    }
    return {"name": "attention", "options": {"num_heads": need(config, "n_head"), "bias": True}}, {
        "dim": D,
        "channel": {"name": "mlp", "options": channel},
        "norm": "layer_norm",
        "norm_eps": config.get("layer_norm_epsilon", 1e-5),
        "positions": {"name": "learned", "options": {"max_length": need(config, "n_positions")}},
    }


def _gpt2_scale(config: Config, layer: int) -> float:
    """Return the factor on the queries for scores without 1 / sqrt(K), or divided by the layer's number too."""
    scale = 1.0 if config.get("scale_attn_weights", True) else (config["n_embd"] // config["n_head"]) ** 0.5
    return scale / (layer + 1) if config.get("scale_attn_by_inverse_layer_idx", False) else scale


def _columns(t: Tensor, part: int = 0, parts: int = 1) -> Tensor:
    """Return one of the parts that lie side by side in a weight (in, parts * out), as (out, in), or in a bias."""
    t = t.chunk(parts, -1)[part]
    return t.mT if t.dim() == 2 else t


GPT2 = Architecture(
    fields=_gpt2_fields,
    base="transformer.",
    blocks="h.{layer}.",
    depth="n_layer",
    tied=True,
    unused=r"\.attn\.(masked_)?bias$",
    whole={
        "embed": "wte",
        "body.embed.weight": "wpe.weight",
        "body.stack.residual.last": "ln_f",
        "head": "lm_head",
    },
    layer={
        "residual.norms.{mixer}": "ln_1",
        "sublayers.{mixer}.q": Source("attn.c_attn", partial(_columns, part=0, parts=3), _gpt2_scale),
        "sublayers.{mixer}.k": Source("attn.c_attn", partial(_columns, part=1, parts=3)),
        "sublayers.{mixer}.v": Source("attn.c_attn", partial(_columns, part=2, parts=3)),
        "sublayers.{mixer}.out": Source("attn.c_proj", _columns),
        "residual.norms.{channel}": "ln_2",
        "sublayers.{channel}.up": Source("mlp.c_fc", _columns),
        "sublayers.{channel}.down": Source("mlp.c_proj", _columns),
    },
)

# ---- Mamba ----------------------------------------------------------------------------------------------


def _mamba_fields(config: Config) -> tuple[dict[str, Any], dict[str, Any]]:
    D = need(config, "hidden_size")
    only(config, "hidden_act", "silu")
    rank = config.get("time_step_rank", "auto")
    mamba = {
        "state_dim": config.get("state_size", 16),
        "expand": int(config.get("expand", 2) * D) / D,
        "conv_width": config.get("conv_kernel", 4),
        "conv_bias": config.get("use_conv_bias", True),
        "dt_rank": None if rank == "auto" else rank,
        "bias": config.get("use_bias", False),
    }
    return {"name": "mamba", "options": mamba}, {
        "dim": D,
        "channel": None,
        "norm": "rms_norm",
        "norm_eps": config.get("layer_norm_epsilon", 1e-5),
        "positions": "none",
    }


def _taps(t: Tensor) -> Tensor:
    """Return a depthwise weight (D, 1, W) as (D, W), and a bias unchanged."""
    return t.squeeze(1) if t.dim() == 3 else t


MAMBA = Architecture(
    fields=_mamba_fields,
    base="backbone.",
    blocks="layers.{layer}.",
    tied=True,
    whole={
        "embed": "embeddings",
        "body.stack.residual.last": "norm_f",
        "head": "lm_head",
    },
    layer={
        "residual.norms.{mixer}": "norm",
        "sublayers.{mixer}.in_proj": "mixer.in_proj",
        "sublayers.{mixer}.conv": Source("mixer.conv1d", _taps),
        "sublayers.{mixer}.x_proj": "mixer.x_proj",
        "sublayers.{mixer}.dt_proj": "mixer.dt_proj",
        "sublayers.{mixer}.A_log": "mixer.A_log",
        "sublayers.{mixer}.skip": "mixer.D",
        "sublayers.{mixer}.out_proj": "mixer.out_proj",
    },
)

# ---- Mamba-2 --------------------------------------------------------------------------------------------


def _mamba2_fields(config: Config) -> tuple[dict[str, Any], dict[str, Any]]:
    only(config, "hidden_act", "silu", "swish")
    low, high = config.get("time_step_limit") or (0.0, float("inf"))
    if low > 0 or (float("inf") if isinstance(high, Mapping) else high) != float(
        "inf"
    ):  # {"__float__": "Infinity"}
        raise ValueError(f"time_step_limit of a 'mamba2' checkpoint must be (0.0, inf), got {(low, high)}")
    mamba2 = {
        "num_heads": need(config, "num_heads"),
        "state_dim": need(config, "state_size"),
        "expand": config.get("expand", 2),
        "num_groups": need(config, "n_groups"),
        "conv_width": config.get("conv_kernel", 4),
        "conv_bias": config.get("use_conv_bias", True),
        "bias": config.get("use_bias", False),
        "norm_eps": config.get("layer_norm_epsilon", 1e-5),
    }
    return {"name": "mamba2", "options": mamba2}, {
        "dim": need(config, "hidden_size"),
        "channel": None,
        "norm": "rms_norm",
        "norm_eps": config.get("layer_norm_epsilon", 1e-5),
        "positions": "none",
    }


MAMBA2 = Architecture(
    fields=_mamba2_fields,
    base="backbone.",
    blocks="layers.{layer}.",
    whole=MAMBA.whole,
    layer={
        "residual.norms.{mixer}": "norm",
        "sublayers.{mixer}.in_proj": "mixer.in_proj",
        "sublayers.{mixer}.conv": Source("mixer.conv1d", _taps),
        "sublayers.{mixer}.dt_bias": "mixer.dt_bias",
        "sublayers.{mixer}.A_log": "mixer.A_log",
        "sublayers.{mixer}.skip": "mixer.D",
        "sublayers.{mixer}.norm": "mixer.norm",
        "sublayers.{mixer}.out_proj": "mixer.out_proj",
    },
)

# ---- RWKV-4 ---------------------------------------------------------------------------------------------


def _rwkv_fields(config: Config) -> tuple[dict[str, Any], dict[str, Any]]:
    # the peer's last norm always has torch's default epsilon
    only(config, "layer_norm_epsilon", 1e-5)
    D = need(config, "hidden_size")
    return {"name": "rwkv4", "options": {"hidden_dim": config.get("attention_hidden_size")}}, {
        "dim": D,
        "channel": {
            "name": "rwkv4_channel",
            "options": {"hidden_dim": config.get("intermediate_size") or 4 * D},
        },
        "norm": "layer_norm",
        "positions": "none",
        "embed": "default(normed=true)",
    }


def _rwkv_scale(config: Config, layer: int) -> float:
    """Return the factor that undoes the peer's rescaling.

    A model that has run in evaluation mode has divided these weights in place by 2, once more after each
    ``rescale_every`` layers.
    """
    every = config.get("rescale_every", 6)
    return 2.0 ** (layer // every) if every > 0 and config.get("layers_are_rescaled", False) else 1.0


RWKV = Architecture(
    fields=_rwkv_fields,
    base="rwkv.",
    blocks="blocks.{layer}.",
    whole={
        "embed": "embeddings",
        "embed_norm": "blocks.0.pre_ln",
        "body.stack.residual.last": "ln_out",
        "head": "head",
    },
    layer={
        "residual.norms.{mixer}": "ln1",
        "sublayers.{mixer}.mix_key": Source("attention.time_mix_key", Tensor.flatten),
        "sublayers.{mixer}.mix_value": Source("attention.time_mix_value", Tensor.flatten),
        "sublayers.{mixer}.mix_receptance": Source("attention.time_mix_receptance", Tensor.flatten),
        "sublayers.{mixer}.log_decay": "attention.time_decay",
        "sublayers.{mixer}.bonus": "attention.time_first",
        "sublayers.{mixer}.key": "attention.key",
        "sublayers.{mixer}.value": "attention.value",
        "sublayers.{mixer}.receptance": "attention.receptance",
        "sublayers.{mixer}.output": Source("attention.output", scale=_rwkv_scale),
        "residual.norms.{channel}": "ln2",
        "sublayers.{channel}.mix_key": Source("feed_forward.time_mix_key", Tensor.flatten),
        "sublayers.{channel}.mix_receptance": Source("feed_forward.time_mix_receptance", Tensor.flatten),
        "sublayers.{channel}.key": "feed_forward.key",
        "sublayers.{channel}.receptance": "feed_forward.receptance",
        "sublayers.{channel}.value": Source("feed_forward.value", scale=_rwkv_scale),
    },
)

DECODERS = {
    "gpt2": GPT2,
    "llama": LLAMA,
    "mamba": MAMBA,
    "mamba2": MAMBA2,
    "mistral": LLAMA,
    "rwkv": RWKV,
}
