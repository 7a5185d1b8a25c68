"""Specs: models as data."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator

from anyformer.embed import DEFAULT, Embedder
from anyformer.heads import Head
from anyformer.models.flat import from_flat
from anyformer.models.line import PartSpec, encoder_fields, parse_stack, part_fields, show, show_stack
from anyformer.options import PartOptions, read_options

COMMON: dict[str, type[PartOptions]] = {"embed": Embedder.Options, "head": Head.Options}
"""The options that all embedders have, and all heads."""
UNNAMED = {"embed": DEFAULT, "head": "linear"}
"""The parts whose options are given without a name."""


class EncoderSpec(BaseModel):
    """The encoder of an encoder-decoder. In text, ``"[attention*2]"`` or ``"([attention*2], positions=learned)"``.

    Attributes:
        layers: token mixers and wrappers, from the input up; all of them read both ways.
        positions: its scheme, if not the model's.
        cross: the part of a decoder's layer that attends to the encoder, after each token mixer.
    """

    model_config = ConfigDict(extra="forbid")

    layers: list[PartSpec] = Field(min_length=1)
    positions: PartSpec | None = None
    cross: PartSpec = PartSpec(name="cross_attention")

    @field_validator("layers", mode="before")
    @classmethod
    def _stack(cls, value: Any) -> Any:
        return _read_stack(value)

    @field_validator("positions", "cross", mode="before")
    @classmethod
    def _part(cls, value: Any) -> Any:
        return None if value is None else part_fields(value)

    def __str__(self) -> str:
        rest = _show_fields(self, leave_out="layers")
        return f"({', '.join([show_stack(self.layers), *rest])})" if rest else show_stack(self.layers)


class ModelSpec(BaseModel):
    """A whole model, but for what its inputs and outputs are.

    Attributes:
        layers: token mixers and wrappers, from the input up. In text, ``"[mamba*3, attention(window=256)]*2"``.
        encoder: with it the model is an encoder-decoder, and ``layers`` are the decoder's.
        prefix: number of learned tokens before the input, without positions, and removed after the last layer; of an
            encoder, or of a model that is not causal.
        dim: width D.
        channel: the channel mixer after each token mixer, or ``None``; a layer's own ``channel=`` option overrides it.
        pattern: the sublayers of a layer, joined by ``+``: ``mixer`` once, and ``channel`` any number of times, each
            with its own weights. ``/2`` after one halves its output: ``channel/2+mixer+channel/2`` is Macaron's
            layer.
        residual: ``pre``, ``post``, ``parallel``, ``ladder`` or ``path_ensemble``.
        norm: ``rms_norm``, ``layer_norm``, ``crms_norm``, ``prep_bn`` or ``none``.
        positions: a scheme by name; one that rotates or scores is passed to the mixers that take one.
        embed: what makes vectors of the inputs (:mod:`anyformer.embed`), such as ``patches(size=4)`` for images.
            ``default`` is a table of tokens, a linear map of numbers, and of fields the embedder of their shape.
        causal: whether a token may see only earlier ones.
        scaled_init: divide the initial output matrix of each sublayer by the root of the number of sublayers, so that
            the residual stream does not grow with the depth (Child 2019, section 5.2; GPT-2).
        head: what makes outputs of the last layer's vectors, with its loss and answers (:mod:`anyformer.heads`).
    """

    model_config = ConfigDict(extra="forbid")

    layers: list[PartSpec] = Field(min_length=1)
    encoder: EncoderSpec | None = None
    prefix: int = Field(0, ge=0)
    dim: int = Field(64, ge=1)
    channel: PartSpec | None = PartSpec(name="swiglu")
    pattern: str = "mixer+channel"
    residual: str = "pre"
    norm: str = "rms_norm"
    norm_eps: float = Field(1e-5, gt=0)
    positions: PartSpec = PartSpec(name="rope")
    embed: PartSpec = PartSpec(name=UNNAMED["embed"])
    causal: bool = True
    dropout: float = Field(0.0, ge=0, lt=1)
    scaled_init: bool = False
    head: PartSpec = PartSpec(name=UNNAMED["head"])

    @model_validator(mode="before")
    @classmethod
    def _flat(cls, value: Any) -> Any:
        return from_flat(value) if isinstance(value, Mapping) else value

    @field_validator("layers", mode="before")
    @classmethod
    def _stack(cls, value: Any) -> Any:
        return _read_stack(value)

    @field_validator("encoder", mode="before")
    @classmethod
    def _encoder(cls, value: Any) -> Any:
        fields = encoder_fields(value)
        if fields is not None and not fields.get("layers"):
            raise ValueError("expected the encoder's layers, such as [attention*2]")
        return fields

    @field_validator("channel", "positions", "embed", "head", mode="before")
    @classmethod
    def _part(cls, value: Any, info: ValidationInfo) -> Any:
        field = info.field_name or ""
        unnamed = {"name": UNNAMED[field]} if field in UNNAMED else {}
        return {**unnamed, **part_fields(value, field)}

    @field_validator("norm", mode="before")
    @classmethod
    def _no_norm(cls, value: Any) -> Any:
        return "none" if value is None else value

    @field_validator("pattern", mode="after")
    @classmethod
    def _sublayers(cls, value: str) -> str:
        read_pattern(value)
        return value

    @field_validator("channel", mode="after")
    @classmethod
    def _no_channel(cls, value: PartSpec | None) -> PartSpec | None:
        return None if value is not None and value.name == "none" else value

    @field_validator("embed", "head", mode="after")
    @classmethod
    def _common_options(cls, value: PartSpec, info: ValidationInfo) -> PartSpec:
        """Check the options that all parts of the kind have, and leave out those that say the default."""
        if value.inner or value.tag:
            raise ValueError(f"expected {value.name} with options only, got {value}")
        kind = COMMON[info.field_name or ""]
        options = read_options(kind, value.options, value.name)
        default = {name: getattr(kind(), name) for name in kind.names()}
        said = {
            key: option for key, option in options.items() if key not in default or option != default[key]
        }
        return value.model_copy(update={"options": said})

    def __str__(self) -> str:
        return " ".join([show_stack(self.layers), *_show_fields(self, leave_out="layers")])


def read_pattern(pattern: str) -> list[tuple[str, float]]:
    """Return the sublayers of a layer with their factors: ``"channel/2+mixer"`` is channel by 0.5, mixer by 1."""
    found = [re.fullmatch(r"\s*(mixer|channel)\s*(?:/\s*(\d+)\s*)?", part) for part in pattern.split("+")]
    names = [match.group(1) for match in found if match]
    if len(names) < len(found) or names.count("mixer") != 1 or any(m and m.group(2) == "0" for m in found):
        raise ValueError(
            "pattern must be mixer once and channels joined by +, such as channel/2+mixer+channel/2"
        )
    return [(match.group(1), 1 / int(match.group(2) or 1)) for match in found if match]


def _read_stack(value: Any) -> Any:
    one = isinstance(value, dict)  # a stack of one part, as a line gives it
    return parse_stack(value) if isinstance(value, str) else [value] if one else value


def _show_fields(spec: BaseModel, *, leave_out: str) -> list[str]:
    """Return the fields that are not the default, as they stand in a line."""
    fields = type(spec).model_fields.items()
    values = [
        (name, getattr(spec, name), field.get_default(call_default_factory=True)) for name, field in fields
    ]
    return [
        f"{name}={show(value)}" for name, value, default in values if name != leave_out and value != default
    ]
