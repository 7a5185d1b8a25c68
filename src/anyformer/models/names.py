"""Named models: where each is registered, and their list."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from anyformer.registry import Registry

NamedModel = Callable[..., dict[str, Any]]

models: Registry[NamedModel] = Registry(
    "model",
    {
        "aaren": "anyformer.models.named",
        "activator": "anyformer.models.named",
        "all_attention": "anyformer.models.named",
        "avey": "anyformer.models.named",
        "axial_transformer": "anyformer.models.sparse",
        "cross_layer_attention": "anyformer.models.named",
        "delta_net": "anyformer.models.named",
        "dinat": "anyformer.models.sparse",
        "dynamic_positions": "anyformer.models.named",
        "encoder_decoder": "anyformer.models.named",
        "fastformer": "anyformer.models.named",
        "flowformer": "anyformer.models.named",
        "fox": "anyformer.models.named",
        "gin": "anyformer.models.named",
        "graphormer": "anyformer.models.named",
        "groupbert": "anyformer.models.named",
        "hgrn2": "anyformer.models.named",
        "hydra": "anyformer.models.named",
        "hyena": "anyformer.models.named",
        "ifactformer": "anyformer.models.sparse",
        "led": "anyformer.models.sparse",
        "linear_transformer": "anyformer.models.named",
        "linformer": "anyformer.models.named",
        "lmuformer": "anyformer.models.named",
        "longformer": "anyformer.models.named",
        "longnet": "anyformer.models.sparse",
        "longt5": "anyformer.models.sparse",
        "macaron": "anyformer.models.named",
        "mamba": "anyformer.models.named",
        "mamba2": "anyformer.models.named",
        "mamba_nd": "anyformer.models.named",
        "masformer": "anyformer.models.sparse",
        "mega": "anyformer.models.named",
        "megabyte": "anyformer.models.named",
        "memoryformer": "anyformer.models.named",
        "meta_state": "anyformer.models.named",
        "mixture_of_depths": "anyformer.models.named",
        "nystromformer": "anyformer.models.named",
        "pegasus_x": "anyformer.models.sparse",
        "pool_former": "anyformer.models.named",
        "power_law_graph": "anyformer.models.named",
        "primer": "anyformer.models.named",
        "qrnn_transformer": "anyformer.models.named",
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
    """Return the names of the named models."""
    return models.ids()
