"""Candidates as the user gives them: names, specs, files and presets."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from anyformer.mixers import preset
from anyformer.models import ModelSpec, load_spec
from anyformer.spelling import option

Model = ModelSpec | Mapping[str, Any] | str | Path

PRESET = "preset:"


def named_models(
    models: str | Sequence[Model] | Mapping[str, Model], *, trust_code: bool = False
) -> dict[str, Model]:
    """Return the candidates by unique names for the report.

    Raises:
        ValueError: if there is none, or a spec cannot be read.
    """
    if isinstance(models, str):
        models = split_models(models)
    pairs = list(models.items()) if isinstance(models, Mapping) else [("", given) for given in models]
    if not pairs:
        raise ValueError(f"{option('models')} must name at least one candidate, got none")
    named: dict[str, Model] = {}
    for name, given in [pair for one in pairs for pair in _expanded(*one)]:
        load_spec(given, trust_code=trust_code)  # raises if it cannot be read
        base = name or _short_name(given)
        name, number = base, 1
        while name in named:
            number += 1
            name = f"{base} ({number})"
        named[name] = given
    return named


def _expanded(name: str, given: Model) -> list[tuple[str, Model]]:
    """Return the candidate, or the candidates of a ``preset:...``."""
    if not (isinstance(given, str) and given.startswith(PRESET)):
        return [(name, given)]
    return list(preset(given.removeprefix(PRESET)).items())


def _short_name(given: Model) -> str:
    if isinstance(given, (str, Path)) and str(given).endswith((".yaml", ".yml")):
        return Path(given).stem
    if isinstance(given, Mapping):
        text = str(given["model"]) if "model" in given else str(load_spec(given))
    else:
        text = str(given)
    text = re.sub(r"[^\[\](),\s]*\.py:", "", text)
    return text if len(text) <= 30 else text[:29].rstrip(" ,") + "…"


def split_models(text: str) -> list[str]:
    """Split a text at commas outside of brackets: ``"mamba, [attention, mamba]*2"`` has two parts.

    Raises:
        ValueError: if a part is empty.
    """
    parts, depth = [""], 0
    for character in text:
        depth += (character in "[(") - (character in "])")
        if character == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    parts = [part.strip() for part in parts]
    if not all(parts):
        raise ValueError(f"{option('models')} must be names or specs between commas, got {text!r}")
    return parts
