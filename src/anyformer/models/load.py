"""Specs read from a name, a line, a dict or a YAML file."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from anyformer.mixers import mixers
from anyformer.models.flat import from_flat
from anyformer.models.line import MOST_LAYERS, LineReader, encoder_fields, part_fields, short
from anyformer.models.names import list_models, models
from anyformer.models.spec import COMMON, EncoderSpec, ModelSpec
from anyformer.options import read_options
from anyformer.registry import nearest
from anyformer.user_code import refuse_code


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
        fields = _read_line(source)
    if "model" in fields:
        fields = named_fields(fields.pop("model"), merged(fields, changes))
    else:
        fields = merged(fields, changes)
    try:
        return ModelSpec.model_validate(fields)
    except ValidationError as error:
        raise ValueError(f"spec {short(source)!r}: {_explain(error)}") from None


def leaves_out(source: ModelSpec | Mapping[str, Any] | str | Path, option: str) -> bool:
    """True if ``source``, a valid one of :func:`load_spec`, names a model that has an option, and does not give it."""
    if isinstance(source, Mapping):
        fields: Mapping[str, Any] = source
    elif isinstance(source, str) and not source.endswith((".yaml", ".yml")):
        fields = _read_line(source)
    else:
        return False
    name = fields.get("model")
    known = {} if name is None else inspect.signature(models.get(name).target).parameters
    return option in known and option not in fields


def named_fields(name: str, changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return the spec fields of a named model, with ``changes`` to them and to its own options, such as ``depth``."""
    function, changes = models.get(name).target, from_flat(changes)
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
    return merged(function(**options), fields)


def merged(fields: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return fields of a spec with changes to them.

    A change replaces a field. But what a change of the encoder does not say stays, and so do the options that all
    embedders have, or all heads, when another one is chosen.
    """
    fields, changes = from_flat(fields), from_flat(changes)
    found = {**fields, **changes}
    for name in {*COMMON, "encoder"} & fields.keys() & changes.keys():
        found[name] = _merged_inside(name, fields[name], changes[name])
    return found


def _merged_inside(name: str, before: Any, change: Any) -> Any:
    if name == "encoder":
        given = encoder_fields(change)
        return None if given is None else {**(encoder_fields(before) or {}), **given}
    old, new = part_fields(before, name), part_fields(change, name)
    kept = COMMON[name].names() if "name" in new else old.get("options", {})
    options = {key: value for key, value in old.get("options", {}).items() if key in kept}
    return {**old, **new, "options": {**options, **new.get("options", {})}}


def _explain(error: ValidationError) -> str:
    known = [*ModelSpec.model_fields, *EncoderSpec.model_fields]
    messages = []
    for item in error.errors():
        where, message = ".".join(str(p) for p in item["loc"]), item["msg"].removeprefix("Value error, ")
        if item["type"] == "extra_forbidden":
            messages.append(f"there is no field {where!r}{nearest(str(item['loc'][-1]), known)}")
        else:
            got = "" if item["type"] == "missing" or ", got " in message else f", got {item['input']!r}"
            messages.append(f"{where}: {message}{got}" if where else message)
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


def _read_line(line: str) -> dict[str, Any]:
    reader = LineReader(line)
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
        fields[key] = reader.fields() if key == "encoder" and reader.peek() == "(" else reader.value()
    return fields
