"""Specs for inputs that are seen whole, or have no order: what a spec leaves unsaid follows the inputs."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from anyformer.mixers import mixers
from anyformer.models.build import Backbone
from anyformer.models.line import PartSpec
from anyformer.models.spec import ModelSpec
from anyformer.parts import option_names


def both_ways(spec: ModelSpec, grid: tuple[int, ...] | None = None) -> ModelSpec:
    """Return the spec for inputs that are seen whole; itself if it says whether it is causal.

    Mixers get ``causal=False``; of an encoder-decoder, those of the decoder, if they all can. Of the layers that only
    run one way, every second one is flipped, and one that the spec has flipped stays as it is; if those do not go
    together either, the model stays causal.

    Args:
        spec: as it was loaded.
        grid: sizes of the grid that the tokens form, if they do.
    """
    if "causal" in spec.model_fields_set:
        return spec
    whole = spec.model_copy(update={"causal": False})
    if spec.encoder:
        return whole if _built(whole, grid) else spec
    if _built(whole, grid):
        return whole
    layers = list[PartSpec]()
    forward = True
    for part in spec.layers:
        if _built(whole.model_copy(update={"layers": [part]}), grid):
            layers.append(part)
            continue
        one_way = _causal(part)
        built = _built(whole.model_copy(update={"layers": [one_way]}), grid)
        flipped = built is not None and built.info.reach[0] == 0 and built.info.reach[1] != 0
        layers.append(one_way if forward or flipped else PartSpec(name="flip", inner=[[one_way]]))
        forward = flipped or not forward
    turned = whole.model_copy(update={"layers": layers})
    return turned if _built(turned, grid) else spec


def without_order(spec: ModelSpec) -> ModelSpec:
    """Return the spec for inputs that have no order, without positions; itself if it says which it has."""
    if "positions" in spec.model_fields_set:
        return spec
    return spec.model_copy(update={"positions": PartSpec(name="none")})


def _causal(part: PartSpec) -> PartSpec:
    """Return the part with the mixers in it causal."""
    inner: list[list[PartSpec]] = [_all_causal(stack) for stack in part.inner]
    takes = part.name in mixers and "causal" in option_names(mixers, part.name)
    options = {"causal": True, **part.options} if takes else part.options
    return part.model_copy(update={"inner": inner, "options": options})


def _all_causal(stack: Sequence[PartSpec]) -> list[PartSpec]:
    return [_causal(part) for part in stack]


def _built(spec: ModelSpec, grid: tuple[int, ...] | None) -> Backbone | None:
    """The body of the spec's model, without weights; None if it cannot be built."""
    try:
        with torch.device("meta"):
            return Backbone(spec, grid=grid)
    except ValueError:
        return None
