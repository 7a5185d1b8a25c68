"""Descriptions of architectures of transformers: a spec made from the config, and a table of parameter names.

The architectures are in ``decoders.py`` and ``encoder_decoders.py``.
"""

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
    """The tensors of the peer (transformers) from which one of our parameters is made.

    Attributes:
        key: the peer's name of a tensor, or names of several. In a table it may name a module instead, whose weight
            and bias keep their names. A name that begins with "/" is absolute, others are relative to the layer.
        change: computes our tensor from the peer's.
        scale: a factor on our tensor, from the config and the number of the layer: it absorbs a factor that the peer
            applies elsewhere.
    """

    key: str | tuple[str, ...]
    change: Callable[..., Tensor] = _same
    scale: Callable[[Config, int], float] | None = None

    @property
    def keys(self) -> tuple[str, ...]:
        """Its names, one or more."""
        return (self.key,) if isinstance(self.key, str) else self.key

    def under(self, prefix: str) -> Source:
        """Return it with a prefix on its relative names; the scale must have been resolved."""
        return self._named(lambda key: key[1:] if key.startswith("/") else prefix + key)

    def leaf(self, name: str) -> Source:
        """Return the source of a parameter (``weight`` or ``bias``) of the modules that it names."""
        return self._named(lambda key: f"{key}.{name}")

    def _named(self, change: Callable[[str], str]) -> Source:
        keys = tuple(change(key) for key in self.keys)
        return Source(keys[0] if isinstance(self.key, str) else keys, self.change)


@dataclass(frozen=True)
class Architecture:
    """One architecture of transformers.

    Attributes:
        fields: from its config, the part that every layer is, and the fields of a spec but ``layers``.
        whole: our modules outside the layers, each with the peer's.
        layer: our modules inside a layer, each with the peer's, whose keys are relative to ``blocks``; {mixer} and
            {channel} stand for the numbers of our sublayers.
        base: prefix of all keys but the head's; checkpoints saved without a head lack it.
        blocks: prefix of a layer's keys; {layer} stands for its number.
        vocab: the config's name for the number of tokens.
        depth: the config's name for the number of layers.
        tied: True if the output matrix is the embedding unless the config says otherwise.
        unused: regular expression for keys of no use here (masks and caches that old versions saved).
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
        """Return the fields of the spec.

        Raises:
            ValueError: if the config lacks a field, or asks for something that is not supported.
        """
        part, fields = self.fields(config)
        depth = need(config, self.depth)
        return {
            **fields,
            "layers": [part] * depth,
            "head": {"options": {"tied": config.get("tie_word_embeddings", self.tied)}},
        }

    def sources(self, config: Config) -> dict[str, Source]:
        """Return the table with its layers written out; its keys are our modules or parameters."""
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
        """Name of the peer's output matrix."""
        head = self.whole["head"]
        assert isinstance(head, str)
        return head

    embed = "embed.weight"
    tied_head = None

    def short(self, key: str) -> str:
        """Return a tensor's name without the prefix ``base``, as it stands in the table."""
        return key.removeprefix(self.base)

    def is_unused(self, key: str) -> bool:
        """True if a tensor of the checkpoint is of no use here."""
        return re.search(self.unused, key) is not None


def scaled(theirs: str | Source, config: Config, layer: int) -> Source:
    """Return a source whose ``change`` applies the factor of ``scale`` too, and which has no scale."""
    if isinstance(theirs, str):
        return Source(theirs)
    factor = 1.0 if theirs.scale is None else theirs.scale(config, layer)
    if factor == 1:
        return Source(theirs.key, theirs.change)
    return Source(theirs.key, partial(_scaled, change=theirs.change, factor=factor))


def _scaled(*tensors: Tensor, change: Callable[..., Tensor], factor: float) -> Tensor:
    return change(*tensors) * factor


# ---- reading configs ------------------------------------------------------------------------------------

ACTIVATIONS = {
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "gelu_fast": "gelu_tanh",
    "gelu": "gelu",
    "relu": "relu",
    "silu": "silu",
    "swish": "silu",
}
"""Our activations, by the names that transformers has for them."""


def need(config: Config, name: str) -> Any:
    """Return a field of the config.

    Raises:
        ValueError: if it is missing or None.
    """
    if config.get(name) is None:
        raise ValueError(f"config.json of a {config.get('model_type')!r} model must have {name!r}")
    return config[name]


def only(config: Config, name: str, *accepted: Any) -> None:
    """Check that a field of the config has an accepted value; a missing one counts as the first of them.

    Raises:
        ValueError: if it has another value, which is not supported here.
    """
    if config.get(name, accepted[0]) not in accepted:
        wanted = " or ".join(map(repr, accepted))
        raise ValueError(
            f"{name} of a {config['model_type']!r} checkpoint must be {wanted}, got {config[name]!r}"
        )


def rope_options(config: Config) -> dict[str, Any]:
    """Return the spec's ``positions`` for a config with rotary positions.

    Older checkpoints keep base (``rope_theta``) and scaling (``rope_scaling``) in different fields.

    Raises:
        ValueError: for a kind of scaling that is not supported.
    """
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
