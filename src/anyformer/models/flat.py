"""The flat form of specs: the names of fields that are now inside of ``encoder``, ``embed`` and ``head``.

Folders, files, lines and code of before have them, and are read as before.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from anyformer.models.line import PartSpec, encoder_fields, part_fields

PLACES = {
    "encoder_positions": ("encoder", "positions"),
    "cross": ("encoder", "cross"),
    "embed_norm": ("embed", "normed"),
    "scale_embeddings": ("embed", "scaled"),
    "tie_embeddings": ("head", "tied"),
    "head_bias": ("head", "bias"),
}
"""For each flat name the field where it is now, and its name there."""


def from_flat(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return fields of a spec with those of flat names in their places.

    Raises:
        ValueError: one is given in its place too.
    """
    found = {name: value for name, value in fields.items() if name not in PLACES}
    for flat in [name for name in PLACES if name in fields]:
        field, inside = PLACES[flat]
        if field == "encoder":
            if "encoder" in fields and not fields["encoder"]:
                continue  # written of models without one too
            place = node = encoder_fields(found.get(field, {})) or {}
        else:
            node = part_fields(found.get(field, {}), field)
            place = node["options"] = dict(node.get("options", {}))
        if inside in place:
            raise ValueError(
                f"{flat!r} is the former name of {inside!r} in {field!r}, which is given too: leave {flat!r} out"
            )
        place[inside] = fields[flat]
        found[field] = node
    return found


def to_flat(spec: BaseModel) -> dict[str, Any]:
    """Return a spec's fields that are not the default, in the flat form: hashes of studies are made of it."""
    found = spec.model_dump(mode="json", exclude_defaults=True)
    if "encoder" in found:
        encoder = found["encoder"]
        found["encoder"] = encoder.pop("layers")
        found |= {flat: encoder[inside] for flat, (_, inside) in PLACES.items() if inside in encoder}
    for field in {"embed", "head"} & found.keys():
        options = found[field].get("options", {})
        places = {flat: inside for flat, (place, inside) in PLACES.items() if place == field}
        found |= {flat: options.pop(inside) for flat, inside in places.items() if inside in options}
        if PartSpec.model_validate(found[field]) == type(spec).model_fields[field].default:
            del found[field]
        elif not options:
            found[field].pop("options", None)
    return found
