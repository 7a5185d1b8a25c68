"""How the architectures of transformers are written here: a spec, and a table from our names to theirs."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import Tensor

Config = Mapping[str, Any]


def _same(t: Tensor) -> Tensor:
    return t


@dataclass(frozen=True)
class Source:
    """Where a parameter of ours comes from.

    Attributes:
        key: the peer's name of a tensor, or names of several; in a table also of a module, whose weight and bias keep
            their names. A name that begins with "/" is not relative to the layer.
        change: from the peer's tensors to ours.
        scale: a factor by the config and the layer, for what the peer multiplies elsewhere.
    """

    key: str | tuple[str, ...]
    change: Callable[..., Tensor] = _same
    scale: Callable[[Config, int], float] | None = None

    @property
    def keys(self) -> tuple[str, ...]:
        """The names."""
        return (self.key,) if isinstance(self.key, str) else self.key

    def under(self, prefix: str) -> Source:
        """With a prefix on the relative names."""
        return self._named(lambda key: key[1:] if key.startswith("/") else prefix + key)

    def leaf(self, name: str) -> Source:
        """Of the weight or bias of the modules that are named."""
        return self._named(lambda key: f"{key}.{name}")

    def _named(self, change: Callable[[str], str]) -> Source:
        keys = tuple(change(key) for key in self.keys)
        return Source(keys[0] if isinstance(self.key, str) else keys, self.change)


@dataclass(frozen=True)
class Architecture:
    """One architecture of transformers.

    Attributes:
        fields: from its config to the fields of a spec, ``layers`` left out, and the part that each layer is.
        vocab, depth: the config's names of the number of tokens and of layers.
        tied: whether the output matrix is the embedding where the config does not say.
        base: prefix of all keys but the head's, which a checkpoint without a head does not have.
        whole: our modules outside the layers, each with the peer's.
        layer: the same inside a layer, keys being relative to ``blocks``; {mixer} and {channel} are the numbers of
            our sublayers.
        blocks: prefix of a layer's keys, {layer} being its number.
        unused: keys that carry nothing (masks and caches that old versions saved).
    """

    fields: Callable[[Config], tuple[dict[str, Any], dict[str, Any]]]
    whole: Mapping[str, str | Source]
    layer: Mapping[str, str | Source]
    base: str
    blocks: str
    vocab: str = "vocab_size"
    depth: str = "num_hidden_layers"
    tied: bool = False
    unused: str = r"$^"

    def spec(self, config: Config) -> dict[str, Any]:
        """The spec's fields.

        Raises:
            ValueError: where the config lacks something, or asks for something that we do not have.
        """
        part, fields = self.fields(config)
        depth = need(config, self.depth)
        return {
            **fields,
            "layers": [part] * depth,
            "tie_embeddings": config.get("tie_word_embeddings", self.tied),
        }

    def sources(self, config: Config) -> dict[str, Source]:
        """The table with its layers written out; a key is one of our modules or parameters."""
        width = 2 if any("{channel}" in ours for ours in self.layer) else 1
        table = {ours: scaled(theirs, config, 0) for ours, theirs in self.whole.items()}
        for layer in range(need(config, self.depth)):
            for ours, theirs in self.layer.items():
                source = scaled(theirs, config, layer)
                ours = "body.stack." + ours.format(mixer=layer * width, channel=layer * width + 1)
                table[ours] = source.under(self.blocks.format(layer=layer))
        return table

    @property
    def head(self) -> str:
        """The peer's output matrix."""
        head = self.whole["head"]
        assert isinstance(head, str)
        return head

    embed = "embed.weight"
    tied_head = None

    def short(self, key: str) -> str:
        """A tensor's name, as the table has it."""
        return key.removeprefix(self.base)

    def is_unused(self, key: str) -> bool:
        """Whether a tensor of the checkpoint carries nothing."""
        return re.search(self.unused, key) is not None


def scaled(theirs: str | Source, config: Config, layer: int) -> Source:
    """A source whose change holds the factor too."""
    if isinstance(theirs, str):
        return Source(theirs)
    factor = 1.0 if theirs.scale is None else theirs.scale(config, layer)
    if factor == 1:
        return Source(theirs.key, theirs.change)
    return Source(theirs.key, partial(_scaled, change=theirs.change, factor=factor))


def _scaled(*tensors: Tensor, change: Callable[..., Tensor], factor: float) -> Tensor:
    return change(*tensors) * factor


# ---- reading configs ------------------------------------------------------------------------------------


def need(config: Config, name: str) -> Any:
    """A field of the config that must be there."""
    if config.get(name) is None:
        raise ValueError(f"config.json of a {config.get('model_type')!r} model must have {name!r}")
    return config[name]


def only(config: Config, name: str, *accepted: Any) -> None:
    """Refuse a config that asks for something that we do not have; a missing field is the first accepted."""
    if config.get(name, accepted[0]) not in accepted:
        wanted = " or ".join(map(repr, accepted))
        raise ValueError(
            f"{name} of a {config['model_type']!r} checkpoint must be {wanted}, got {config[name]!r}"
        )


def _rope(config: Config) -> dict[str, Any]:
    """Options of ``rope``; older checkpoints hold the base and the scaling apart."""
    rope = {**config, **(config.get("rope_parameters") or config.get("rope_scaling") or {})}
    kind = rope.get("rope_type", rope.get("type", "default"))
    options: dict[str, Any] = {"base": float(rope.get("rope_theta") or 10000)}
    if rope.get("partial_rotary_factor", 1.0) != 1:
        raise ValueError(f"partial_rotary_factor must be 1, got {rope['partial_rotary_factor']}")
    if kind in ("linear", "llama3"):
        options["stretch"] = float(need(rope, "factor"))
    elif kind != "default":
        raise ValueError(f"rope_type must be 'default', 'linear' or 'llama3', got {kind!r}")
    if kind == "llama3":
        options |= {
            "trained_length": need(rope, "original_max_position_embeddings"),
            "low": float(need(rope, "low_freq_factor")),
            "high": float(need(rope, "high_freq_factor")),
        }
    return {"name": "rope", "options": options}


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
        "positions": _rope(config),
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

ACTIVATIONS = {
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "gelu_fast": "gelu_tanh",
    "gelu": "gelu",
    "relu": "relu",
    "silu": "silu",
    "swish": "silu",
}


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
    """Scores that are not scaled by 1 / sqrt(K), or also by the layer's number: that goes into the queries."""
    scale = 1.0 if config.get("scale_attn_weights", True) else (config["n_embd"] // config["n_head"]) ** 0.5
    return scale / (layer + 1) if config.get("scale_attn_by_inverse_layer_idx", False) else scale


def _columns(t: Tensor, part: int = 0, parts: int = 1) -> Tensor:
    """One of the parts side by side in a weight (in, parts * out), as (out, in), or in a bias."""
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
    """A depthwise weight (D, 1, W) as (D, W); a bias as it is."""
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
    # the peer's last norm has torch's default epsilon, whatever the config says
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
        "embed_norm": True,
    }


def _rwkv_scale(config: Config, layer: int) -> float:
    """A model that has run in evaluation has halved these in place, each ``rescale_every`` layers once more."""
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

ARCHITECTURES = {
    "gpt2": GPT2,
    "llama": LLAMA,
    "mamba": MAMBA,
    "mamba2": MAMBA2,
    "mistral": LLAMA,
    "rwkv": RWKV,
}
