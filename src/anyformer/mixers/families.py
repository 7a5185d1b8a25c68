"""Token mixers by what they do with the past: the chapters of the field guide, and presets of candidates."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from anyformer.mixers import mixers
from anyformer.parts import part_info
from anyformer.registry import nearest


class Family(NamedTuple):
    """Mixers that differ in a term or two.

    Attributes:
        title: for people.
        mixers: ids, the plainest first.
    """

    title: str
    mixers: tuple[str, ...]


FAMILIES: Mapping[str, Family] = {
    "softmax": Family(
        "Softmax attention",
        (
            "attention",
            "cross_attention",
            "key_driven_attention",
            "power_law_attention",
            "subsampled_attention",
            "fox",
            "aaren",
            "mega",
            "tokenformer",
            "memoryformer",
        ),
    ),
    "sparse": Family(
        "Sparse attention",
        (
            "segment_attention",
            "diag_attention",
            "longformer",
            "block_attention",
            "transient_global",
            "lsg_attention",
            "neighborhood_attention",
            "axial",
            "sparse_attention",
            "dilated_attention",
            "combiner",
            "hash_attention",
            "routing_attention",
            "top_k_attention",
            "page_attention",
            "evicting_attention",
        ),
    ),
    "low-rank": Family("Low-rank attention", ("linformer", "nystromformer", "factorized_attention")),
    "linear": Family(
        "Linear attention and the delta rule",
        (
            "linear_attention",
            "rfa",
            "retention",
            "mamba2",
            "hgrn2",
            "delta_net",
            "rwkv7",
            "flow_attention",
            "fastformer",
            "ecoformer",
            "longvq",
            "simplified_attention",
            "transmamba",
        ),
    ),
    "ssm": Family("State spaces", ("s4", "lmu", "mamba", "longhorn", "hydra", "block_state")),
    "rnn": Family("Gated recurrences", ("lstm", "qrnn", "rwkv4")),
    "convolution": Family(
        "Convolutions and fixed mixing",
        (
            "conv_module",
            "conv_stem",
            "hyena",
            "hyena_nd",
            "extractor",
            "gated_associative_memory",
            "matrix_mixer",
        ),
    ),
    "pooling": Family("Pooling and MLPs over tokens", ("pooling", "ponet", "flat_mlp", "neural_processor")),
}
"""Every registered mixer stands in one of them; the tests hold that."""


def forms(id: str) -> list[bool]:
    """Whether the mixer can be causal, and whether it can be bidirectional: of ``[True, False]`` those that it can."""
    found = []
    for causal in (True, False):
        try:
            info = part_info(mixers, id, {"causal": causal})
        except ValueError:
            continue
        if not info.context and info.causal == causal:
            found.append(causal)
    return found


def preset(name: str) -> dict[str, str]:
    """Candidates by name: ``linear``, ``ssm``, ... or ``all-causal``, each mixer alone in two layers, as a spec.

    A family's preset holds those of its mixers that can be causal, and with ``-bidirectional`` behind its name (as
    in ``all-bidirectional``) those that can see the whole sequence.

    Raises:
        ValueError: for a name that is no preset, with the nearest ones.
    """
    known = [f"{family}{form}" for family in FAMILIES for form in ("", "-bidirectional")]
    known += ["all-causal", "all-bidirectional"]
    if name not in known:
        raise ValueError(f"unknown preset {name!r}{nearest(name, known)}")
    causal = not name.endswith("-bidirectional")
    family = name.removesuffix("-bidirectional").removesuffix("-causal")
    chosen = [id for key, f in FAMILIES.items() if family in (key, "all") for id in f.mixers]
    found = {id: f"[{id}]*2" + ("" if causal else " causal=false") for id in chosen if causal in forms(id)}
    if not found:
        raise ValueError(f"preset {name!r} is empty: none of {', '.join(chosen)} can be so")
    return found
