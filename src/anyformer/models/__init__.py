"""Whole architectures: what goes in, a body from a spec, and what comes out."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from anyformer.models.spec import ModelSpec, PartSpec, load_spec
from anyformer.registry import Registry, nearest

NamedModel = Callable[..., dict[str, Any]]

_IDS = (
    "aaren activator all_attention cross_layer_attention delta_net dynamic_positions encoder_decoder "
    "fastformer flowformer fox groupbert hgrn2 hyena linear_transformer linformer longformer macaron mamba "
    "mega megabyte memoryformer meta_state mixture_of_depths nystromformer pool_former primer qrnn_transformer retnet rwkv4 s4 "
    "tokenformer transformer transformer_xl transnormer"
_IDS = (  # one a line, in order
    "aaren",
    "activator",
    "all_attention",
    "avey",
    "cross_layer_attention",
    "delta_net",
    "dynamic_positions",
    "encoder_decoder",
    "fastformer",
    "flowformer",
    "fox",
    "groupbert",
    "hgrn2",
    "hydra",
    "hyena",
    "linear_transformer",
    "linformer",
    "longformer",
    "macaron",
    "mamba",
    "mamba2",
    "mamba_nd",
    "mega",
    "megabyte",
    "memoryformer",
    "mixture_of_depths",
    "nystromformer",
    "pool_former",
    "power_law_graph",
    "primer",
    "retnet",
    "rwkv4",
    "s4",
    "tokenformer",
    "transformer",
    "transformer_xl",
    "transmamba",
    "transnormer",
)
_SPARSE = (
    "longnet",
    "masformer",
    "sparse_transformer",
)
_IDS = (
    "aaren activator cross_layer_attention delta_net dynamic_positions encoder_decoder fox groupbert hgrn2 hyena "
    "linear_transformer linformer longformer macaron mamba mega megabyte memoryformer mixture_of_depths "
    "nystromformer pool_former retnet rwkv4 s4 tokenformer transformer transformer_xl transnormer"
)
_SPARSE = "dinat led longnet longt5 masformer pegasus_x sparse_transformer"
_MANIFEST = {
    **dict.fromkeys(_IDS, "anyformer.models.named"),
    **dict.fromkeys(_SPARSE, "anyformer.models.sparse"),
}
models: Registry[NamedModel] = Registry("model", _MANIFEST)
models: Registry[NamedModel] = Registry(
    "model",
    {
        "aaren": "anyformer.models.named",
        "activator": "anyformer.models.named",
        "all_attention": "anyformer.models.named",
        "cross_layer_attention": "anyformer.models.named",
        "delta_net": "anyformer.models.named",
        "dynamic_positions": "anyformer.models.named",
        "encoder_decoder": "anyformer.models.named",
        "fastformer": "anyformer.models.named",
        "flowformer": "anyformer.models.named",
        "fox": "anyformer.models.named",
        "groupbert": "anyformer.models.named",
        "hgrn2": "anyformer.models.named",
        "hydra": "anyformer.models.named",
        "hyena": "anyformer.models.named",
        "linear_transformer": "anyformer.models.named",
        "linformer": "anyformer.models.named",
        "lmuformer": "anyformer.models.named",
        "longformer": "anyformer.models.named",
        "longnet": "anyformer.models.sparse",
        "macaron": "anyformer.models.named",
        "mamba": "anyformer.models.named",
        "mamba2": "anyformer.models.named",
        "mamba_nd": "anyformer.models.named",
        "masformer": "anyformer.models.sparse",
        "mega": "anyformer.models.named",
        "megabyte": "anyformer.models.named",
        "memoryformer": "anyformer.models.named",
        "mixture_of_depths": "anyformer.models.named",
        "nystromformer": "anyformer.models.named",
        "pool_former": "anyformer.models.named",
        "primer": "anyformer.models.named",
        "retnet": "anyformer.models.named",
        "rwkv4": "anyformer.models.named",
        "s4": "anyformer.models.named",
        "sparse_transformer": "anyformer.models.sparse",
        "tokenformer": "anyformer.models.named",
        "transformer": "anyformer.models.named",
        "transformer_xl": "anyformer.models.named",
        "transmamba": "anyformer.models.named",
        "transnormer": "anyformer.models.named",
    },
)
register_model = models.register


def list_models() -> list[str]:
    """The names of the named models."""
    return models.ids()


def named_fields(name: str, changes: Mapping[str, Any]) -> dict[str, Any]:
    """The spec fields of a named model with some changed; its own options, such as ``depth``, are taken out."""
    function = models.get(name).target
    own = set(inspect.signature(function).parameters)
    fields = {k: v for k, v in changes.items() if k not in own}
    for key in fields:
        if key not in ModelSpec.model_fields:
            known = [*sorted(own), *ModelSpec.model_fields]
            raise ValueError(f"model {name!r} has no option {key!r}{nearest(key, known)}")
    options = {k: v for k, v in changes.items() if k in own}
    if not isinstance(options.get("depth", 1), int) or options.get("depth", 1) < 1:
        raise ValueError(f"depth must be an integer of at least 1, got {options['depth']!r}")
    return {**function(**options), **fields}


from anyformer.models.sequence import EncoderDecoder, SequenceModel, create_model  # noqa: E402
from anyformer.models.size import match_parameters  # noqa: E402

__all__ = [
    "EncoderDecoder",
    "ModelSpec",
    "PartSpec",
    "SequenceModel",
    "create_model",
    "list_models",
    "load_spec",
    "match_parameters",
    "models",
    "named_fields",
    "register_model",
]
