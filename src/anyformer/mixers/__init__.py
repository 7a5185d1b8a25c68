"""Token mixers, one mechanism a file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from anyformer.contract import Mixer, MixerInfo
from anyformer.parts import create_part, list_parts, part_info
from anyformer.registry import Registry

M = TypeVar("M", bound=type[Mixer])

mixers: Registry[type[Mixer]] = Registry(
    "mixer",
    {
        "aaren": "anyformer.mixers.aaren",
        "attention": "anyformer.mixers.attention",
        "axial": "anyformer.mixers.axial",
        "block_attention": "anyformer.mixers.block_attention",
        "block_state": "anyformer.mixers.block_state",
        "combiner": "anyformer.mixers.combiner",
        "conv_module": "anyformer.mixers.conv_module",
        "conv_stem": "anyformer.mixers.lmu",
        "cross_attention": "anyformer.mixers.cross_attention",
        "delta_net": "anyformer.mixers.delta_net",
        "diag_attention": "anyformer.mixers.diag_attention",
        "dilated_attention": "anyformer.mixers.dilated_attention",
        "evicting_attention": "anyformer.mixers.evicting_attention",
        "ecoformer": "anyformer.mixers.ecoformer",
        "extractor": "anyformer.mixers.extractor",
        "fastformer": "anyformer.mixers.fastformer",
        "factorized_attention": "anyformer.mixers.factorized_attention",
        "flat_mlp": "anyformer.mixers.flat_mlp",
        "flow_attention": "anyformer.mixers.flow_attention",
        "fox": "anyformer.mixers.fox",
        "gated_associative_memory": "anyformer.mixers.gated_associative_memory",
        "hash_attention": "anyformer.mixers.hash_attention",
        "hgrn2": "anyformer.mixers.hgrn2",
        "hydra": "anyformer.mixers.hydra",
        "hyena": "anyformer.mixers.hyena",
        "hyena_nd": "anyformer.mixers.hyena_nd",
        "key_driven_attention": "anyformer.mixers.key_driven_attention",
        "linear_attention": "anyformer.mixers.linear_attention",
        "linformer": "anyformer.mixers.linformer",
        "lmu": "anyformer.mixers.lmu",
        "longformer": "anyformer.mixers.longformer",
        "longvq": "anyformer.mixers.longvq",
        "lstm": "anyformer.mixers.lstm",
        "longhorn": "anyformer.mixers.longhorn",
        "lsg_attention": "anyformer.mixers.lsg_attention",
        "mamba": "anyformer.mixers.mamba",
        "mamba2": "anyformer.mixers.mamba2",
        "matrix_mixer": "anyformer.mixers.matrix_mixer",
        "mega": "anyformer.mixers.mega",
        "memoryformer": "anyformer.mixers.memoryformer",
        "neighborhood_attention": "anyformer.mixers.neighborhood_attention",
        "neural_processor": "anyformer.mixers.neural_processor",
        "nystromformer": "anyformer.mixers.nystromformer",
        "page_attention": "anyformer.mixers.page_attention",
        "ponet": "anyformer.mixers.ponet",
        "pooling": "anyformer.mixers.pooling",
        "power_law_attention": "anyformer.mixers.power_law_attention",
        "qrnn": "anyformer.mixers.qrnn",
        "retention": "anyformer.mixers.retention",
        "rfa": "anyformer.mixers.rfa",
        "routing_attention": "anyformer.mixers.routing_attention",
        "rwkv4": "anyformer.mixers.rwkv4",
        "rwkv7": "anyformer.mixers.rwkv7",
        "s4": "anyformer.mixers.s4",
        "segment_attention": "anyformer.mixers.segment_attention",
        "simplified_attention": "anyformer.mixers.simplified_attention",
        "sparse_attention": "anyformer.mixers.sparse_attention",
        "subsampled_attention": "anyformer.mixers.subsampled_attention",
        "tokenformer": "anyformer.mixers.tokenformer",
        "top_k_attention": "anyformer.mixers.top_k_attention",
        "transient_global": "anyformer.mixers.transient_global",
        "transmamba": "anyformer.mixers.transmamba",
    },
)


def register_mixer(
    id: str, *, papers: list[str] | None = None, examples: list[Mapping[str, Any]] | None = None
) -> Callable[[M], M]:
    """Class decorator: make a token mixer known as ``id``.

    Args:
        papers: slugs of the papers that it is the mixer of.
        examples: sets of options under which the laws are checked; by default the defaults.
    """
    return mixers.register(id, papers=papers, examples=examples)


def create_mixer(name: str, dim: int, **options: Any) -> Mixer:
    """A token mixer of width ``dim``: an ordinary module, (B, T, dim) to the same shape.

    Raises:
        ValueError: for an unknown name (with the nearest ones) or an option that the mixer does not have.
    """
    return create_part(mixers, name, dim, options)


def mixer_info(name: str, **options: Any) -> MixerInfo:
    """What the mixer of that name is and costs, without building it."""
    return part_info(mixers, name, options)


def list_mixers(**wanted: Any) -> list[str]:
    """Names of the token mixers whose info has the wanted values, e.g. ``causal=True, state="constant"``."""
    return list_parts(mixers, wanted)
