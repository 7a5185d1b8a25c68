"""Specs: models as data, read from YAML, a dict or one line."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator

from anyformer.models.names import list_models, models
from anyformer.options import read_options
from anyformer.registry import nearest
from anyformer.user_code import refuse_code

MOST_LAYERS = 10_000


class PartSpec(BaseModel):
    """A part by name: a mixer, a channel mixer or a wrapper around stacks.

    Attributes:
        tag: parts of the same name and tag share one module, with a state at each occurrence.
        inner: the stacks that a wrapper wraps.
    """

    model_config = ConfigDict(extra="forbid")

    name: str
    tag: str | None = None
    options: dict[str, Any] = Field(default_factory=dict)
    inner: list[list[PartSpec]] = Field(default_factory=list)

    def __str__(self) -> str:
        args = ["[" + ", ".join(map(str, stack)) + "]" for stack in self.inner]
        args += [f"{k}={_show(v)}" for k, v in self.options.items()]
        return self.name + (f"@{self.tag}" if self.tag else "") + (f"({', '.join(args)})" if args else "")


class ModelSpec(BaseModel):
    """A whole model but for its embedding and head.

    Attributes:
        layers: token mixers and wrappers, from the input up. In text, ``"[mamba*3, attention(window=256)]*2"``.
        encoder: layers of an encoder; with it the model is an encoder-decoder.
        cross: the part of a decoder's layer that attends to the encoder, after each token mixer.
        encoder_positions: the encoder's scheme, if not ``positions``.
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
        embed: the embedder of fields, such as ``patches(size=4)`` for images; by default that of the inputs' shape.
        causal: whether a token may see only earlier ones.
        scaled_init: divide the initial output matrix of each sublayer by the root of the number of sublayers, so that
            the residual stream does not grow with the depth (Child 2019, section 5.2; GPT-2).
        embed_norm: a norm on the embedded input.
        tie_embeddings: use the embedding matrix as the output matrix; an encoder-decoder of numbers has none to tie.
        scale_embeddings: multiply embedded tokens by sqrt(dim), as a matrix initialised for the output requires.
        head: what makes outputs of the last layer's vectors, with its loss and answers (:mod:`anyformer.heads`).
        head_bias: a bias on the output; by default only if the outputs are not next-token logits.
    """

    model_config = ConfigDict(extra="forbid")

    layers: list[PartSpec] = Field(min_length=1)
    encoder: list[PartSpec] = Field(default_factory=list)
    cross: PartSpec = PartSpec(name="cross_attention")
    encoder_positions: PartSpec | None = None
    prefix: int = Field(0, ge=0)
    dim: int = Field(64, ge=1)
    channel: PartSpec | None = PartSpec(name="swiglu")
    pattern: str = "mixer+channel"
    residual: str = "pre"
    norm: str = "rms_norm"
    norm_eps: float = Field(1e-5, gt=0)
    positions: PartSpec = PartSpec(name="rope")
    embed: PartSpec | None = None
    causal: bool = True
    dropout: float = Field(0.0, ge=0, lt=1)
    scaled_init: bool = False
    embed_norm: bool = False
    tie_embeddings: bool = False
    scale_embeddings: bool = False
    head: PartSpec = PartSpec(name="linear")
    head_bias: bool | None = None

    @field_validator("layers", "encoder", mode="before")
    @classmethod
    def _stack(cls, value: Any) -> Any:
        one = isinstance(value, dict)  # a stack of one part, as a line gives it
        return parse_stack(value) if isinstance(value, str) else [value] if one else value

    @field_validator("channel", "positions", "cross", "encoder_positions", "embed", "head", mode="before")
    @classmethod
    def _part(cls, value: Any, info: ValidationInfo) -> Any:
        if value is None and info.field_name in ("encoder_positions", "embed"):
            return None
        if isinstance(value, str):
            parts = parse_stack(value)
            if len(parts) != 1:
                raise ValueError(f"expected one part, got {len(parts)}")
            return parts[0]
        return {"name": "none"} if value is None else value

    @field_validator("embed", mode="after")
    @classmethod
    def _embedder_alone(cls, value: PartSpec | None) -> PartSpec | None:
        if value is not None and (value.inner or value.tag):
            raise ValueError("expected an embedder with options only")
        return value

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

    @field_validator("head", mode="after")
    @classmethod
    def _options_only(cls, value: PartSpec) -> PartSpec:
        if value.inner or value.tag:
            raise ValueError(f"takes options only, such as {value.name}")
        return value

    def __str__(self) -> str:
        parts = ["[" + ", ".join(_runs(self.layers)) + "]"]
        for name, field in type(self).model_fields.items():
            value = getattr(self, name)
            if name == "layers" or value == field.get_default(call_default_factory=True):
                continue
            parts.append(
                f"{name}={'[' + ', '.join(_runs(value)) + ']' if name == 'encoder' else _show(value)}"
            )
        return " ".join(parts)


def read_pattern(pattern: str) -> list[tuple[str, float]]:
    """Return the sublayers of a layer with their factors: ``"channel/2+mixer"`` is channel by 0.5, mixer by 1."""
    found = [re.fullmatch(r"\s*(mixer|channel)\s*(?:/\s*(\d+)\s*)?", part) for part in pattern.split("+")]
    names = [match.group(1) for match in found if match]
    if len(names) < len(found) or names.count("mixer") != 1 or any(m and m.group(2) == "0" for m in found):
        raise ValueError(
            "pattern must be mixer once and channels joined by +, such as channel/2+mixer+channel/2"
        )
    return [(match.group(1), 1 / int(match.group(2) or 1)) for match in found if match]


def load_spec(
    source: ModelSpec | Mapping[str, Any] | str | Path, *, trust_code: bool = False, **changes: Any
) -> ModelSpec:
    """Load the spec that ``source`` gives, with ``changes``.

    Args:
        source: a spec; a dict of its fields; a YAML file; the name of a model with its options
            (``"mamba dim=128 depth=4"``, ``"mamba_nd(grid=2x3)"``); or a stack with fields
            (``"[mamba*3, attention]*2 dim=256"``). The name of a mixer that is no model's, or
            ``"file.py:Class"``, stands for a stack of two.
        trust_code: let a YAML file name Python files (``file.py:Class``), which run when the model is built.
        changes: fields that replace those of the source.

    Raises:
        ValueError: saying what in the spec is wrong, and what was expected.
    """
    if isinstance(source, ModelSpec):
        fields: dict[str, Any] = source.model_dump(include=source.model_fields_set)
    elif isinstance(source, Mapping):
        fields = dict(source)
    elif isinstance(source, Path) or str(source).endswith((".yaml", ".yml")):
        fields = _read_yaml(Path(source))
        refuse_code(fields, source, trust_code=trust_code)
    else:
        fields = _read_line(source, changes)
    if "model" in fields:
        fields = named_fields(fields.pop("model"), {**fields, **changes})
    else:
        fields = {**fields, **changes}
    try:
        return ModelSpec.model_validate(fields)
    except ValidationError as error:
        raise ValueError(f"spec {_short(source)!r}: {_explain(error)}") from None


def leaves_out(source: ModelSpec | Mapping[str, Any] | str | Path, option: str) -> bool:
    """True if ``source``, a valid one of :func:`load_spec`, names a model that has an option, and does not give it."""
    if isinstance(source, Mapping):
        fields: Mapping[str, Any] = source
    elif isinstance(source, str) and not source.endswith((".yaml", ".yml")):
        fields = _read_line(source, {})
    else:
        return False
    name = fields.get("model")
    known = {} if name is None else inspect.signature(models.get(name).target).parameters
    return option in known and option not in fields


def named_fields(name: str, changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return the spec fields of a named model, with ``changes`` to them and to its own options, such as ``depth``."""
    function = models.get(name).target
    own = set(inspect.signature(function).parameters)
    fields = {k: v for k, v in changes.items() if k not in own}
    for key in fields:
        if key not in ModelSpec.model_fields:
            known = [*sorted(own), *ModelSpec.model_fields]
            raise ValueError(f"model {name!r} has no option {key!r}{nearest(key, known)}")
    options = read_options(function, {k: v for k, v in changes.items() if k in own}, f"model {name!r}")
    depth = options.get("depth", 1)
    if not isinstance(depth, int) or not 1 <= depth <= MOST_LAYERS:
        raise ValueError(f"depth must be an integer from 1 to {MOST_LAYERS:,}, got {depth!r}")
    return {**function(**options), **fields}


def _explain(error: ValidationError) -> str:
    messages = []
    for item in error.errors():
        where = ".".join(str(p) for p in item["loc"])
        if item["type"] == "extra_forbidden":
            messages.append(
                f"there is no field {where!r}{nearest(str(item['loc'][-1]), list(ModelSpec.model_fields))}"
            )
        else:
            got = "" if item["type"] == "missing" else f", got {item['input']!r}"
            messages.append(f"{where}: {item['msg'].removeprefix('Value error, ')}{got}")
    return "; ".join(messages)


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        fields = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"spec file {str(path)!r} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise ValueError(
            f"spec file {str(path)!r} is not UTF-8 text: byte {error.start} is 0x{error.object[error.start]:02x}"
        ) from None
    except yaml.YAMLError as error:
        raise ValueError(f"spec file {str(path)!r} is not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(fields, dict):
        raise ValueError(f"spec file {str(path)!r} must hold a mapping, got {type(fields).__name__}")
    return fields


def _read_line(line: str, changes: Mapping[str, Any]) -> dict[str, Any]:
    from anyformer.mixers import mixers

    reader = _Reader(line)
    token = reader.peek()
    fields: dict[str, Any] = {}
    alone = reader.peek(1) not in ("(", "*", "@")
    if alone and (".py:" in token or (token in mixers and token not in list_models())):
        fields["layers"] = [reader.part()] * 2
    elif alone and re.fullmatch(r"[\w.-]+", token):
        if token not in list_models():
            raise ValueError(f"unknown model {token!r}{nearest(token, {*list_models(), *mixers.ids()})}")
        fields["model"] = reader.next()
    elif reader.peek(1) == "(" and token in list_models() and token not in mixers:
        part = reader.part()
        if part.inner or part.tag:
            reader.fail(f"{token} is a model: it takes options only, such as {token}(depth=2)")
        fields.update({"model": part.name, **part.options})
    else:
        fields["layers"] = reader.stack()
    while reader.peek():
        key = reader.name("a field")
        if key in fields:
            reader.fail(f"the field {key!r} stands twice")
        reader.expect("=")
        fields[key] = reader.value()
    return fields


def parse_stack(text: str) -> list[PartSpec]:
    """Parse layers from text: ``"[mamba*3, attention(window=256)]*2"``."""
    reader = _Reader(text)
    layers = reader.stack()
    if reader.peek():
        reader.fail(f"unexpected {reader.peek()!r}")
    return layers


class _Reader:
    """A recursive-descent reader of the one-line language.

    stack := "[" group ("," group)* "]" ["*" count] | group;  group := (stack | part) ["*" count]
    part := name ["@" tag] ["(" argument ("," argument)* ")"];  argument := key "=" value | stack
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens = [m.group() for m in re.finditer(r"\"[^\"]*\"|'[^']*'|[\w.:/+-]+|[^\s]", text)]
        self.at = 0

    def fail(self, message: str) -> None:
        raise ValueError(f"spec {_short(self.text)!r}: {message}")

    def peek(self, ahead: int = 0) -> str:
        return self.tokens[self.at + ahead] if self.at + ahead < len(self.tokens) else ""

    def next(self) -> str:
        token = self.peek()
        self.at += 1
        return token

    def expect(self, token: str) -> None:
        if self.peek() != token:
            self.fail(f"expected {token!r}, got {self.peek() or 'the end'!r}")
        self.at += 1

    def name(self, what: str) -> str:
        if not re.fullmatch(r"[A-Za-z_./][\w.:/-]*", self.peek()):
            self.fail(f"expected {what}, got {self.peek() or 'the end'!r}")
        return self.next()

    def stack(self) -> list[PartSpec]:
        return list(self.group())

    def group(self) -> Iterator[PartSpec]:
        if self.peek() == "[":
            self.next()
            found: list[PartSpec] = list(self.group())
            while self.peek() == ",":
                self.next()
                found.extend(self.group())
            self.expect("]")
        else:
            found = [self.part()]
        count = self.count()
        if count * len(found) > MOST_LAYERS:
            self.fail(f"a model has at most {MOST_LAYERS:,} layers, got {count:,} times {len(found):,}")
        return iter(found * count)

    def count(self) -> int:
        if self.peek() != "*":
            return 1
        self.next()
        token = self.next()
        if not token.isdecimal() or int(token) < 1:
            self.fail(f"expected a count of at least 1 behind '*', got {token or 'the end'!r}")
        return int(token)

    def part(self) -> PartSpec:
        part = PartSpec(name=self.name("the name of a part"))
        if self.peek() == "@":
            self.next()
            part.tag = self.name("a tag")
        if self.peek() == "(":
            self.next()
            while self.peek() != ")":
                if self.peek(1) == "=":
                    key = self.name("an option")
                    if key in part.options:
                        self.fail(f"the option {key!r} stands twice")
                    self.next()
                    part.options[key] = self.value()
                else:
                    part.inner.append(self.stack())
                if self.peek() != ")":
                    self.expect(",")
            self.next()
        return part

    def value(self) -> Any:
        if self.peek() == "[" or self.peek(1) == "(":
            parts = self.stack()
            return parts[0].model_dump() if len(parts) == 1 else [p.model_dump() for p in parts]
        token = self.next()
        if not token:
            self.fail("expected a value, got the end")
        if token[0] in "\"'":
            return token[1:-1]
        return _literal(token)


def _literal(token: str) -> Any:
    for kind in (int, float):
        try:
            return kind(token)
        except ValueError:
            pass
    return {"true": True, "false": False, "none": None, "null": None}.get(token.lower(), token)


def _runs(layers: list[PartSpec]) -> list[str]:
    """Merge equal neighbours, with a count."""
    runs: list[list[Any]] = []
    for part in map(str, layers):
        if runs and runs[-1][0] == part:
            runs[-1][1] += 1
        else:
            runs.append([part, 1])
    return [part if count == 1 else f"{part}*{count}" for part, count in runs]


def _show(value: Any) -> str:
    if isinstance(value, Mapping) and "name" in value:
        return str(PartSpec.model_validate(value))
    return str(value) if not isinstance(value, bool) else str(value).lower()


def _short(source: Any) -> str:
    text = str(source)
    return text if len(text) <= 80 else text[:77] + "..."
