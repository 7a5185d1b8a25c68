"""Conversion of checkpoints of transformers to models of this library."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from anyformer.convert.architectures import Architecture, Config, Source, need
from anyformer.convert.checkpoint import checked, read_checkpoint, same
from anyformer.convert.decoders import DECODERS
from anyformer.convert.encoder_decoders import ENCODER_DECODERS, EncoderDecoderArchitecture
from anyformer.models import EncoderDecoder, SequenceModel, load_spec

AnyArchitecture = Architecture | EncoderDecoderArchitecture
Model = SequenceModel | EncoderDecoder


class LoadedModel(Protocol):
    """A model that transformers has loaded, as far as :func:`from_hf` uses it."""

    config: Any

    def state_dict(self) -> dict[str, Tensor]: ...

    def modules(self) -> Any: ...


def from_hf(source: str | Path | LoadedModel) -> Any:
    """Convert a model of transformers: a language model, or an encoder-decoder.

    Language models are Llama, Mistral, GPT-2, Mamba, Mamba-2 and RWKV-4; encoder-decoders LED, LongT5 and PEGASUS-X.
    An encoder-decoder is called with its source first and its target second; LED's global tokens are the side input
    ``global_tokens`` of ``source_call``.

    Outputs are those of transformers in evaluation mode. RWKV's halving of the residual stream every few layers,
    against overflow in float16, is left out: it changes nothing but the effect of the norms' epsilon.

    Args:
        source: a folder with ``config.json`` and safetensors or ``pytorch_model.bin``, in one file or in shards; or
            a model that transformers has loaded, whose weights are copied. A folder is read without transformers.

    Returns:
        A :class:`SequenceModel` or an :class:`EncoderDecoder` in evaluation mode, with the dtype of the checkpoint's
        embedding. If the config ties the output matrix to the embedding but the checkpoint stores a different one,
        the stored one is used.

    Raises:
        ValueError: for a missing folder or file, an architecture or option that is not supported, and a tensor that
            is missing, left over, quantised or not of the shape that the config gives it.
    """
    config: Config
    tensors: Mapping[str, Tensor]
    if isinstance(source, (str, Path)):
        config, tensors = read_checkpoint(Path(source))
        where = f"checkpoint {str(source)!r}"
    elif hasattr(source, "config") and hasattr(source, "state_dict"):
        rescaled = any(getattr(module, "layers_are_rescaled", False) for module in source.modules())
        config = {**source.config.to_dict(), "layers_are_rescaled": rescaled}
        tensors = source.state_dict()
        where = type(source).__name__
    else:
        raise ValueError(f"source must be a folder or a model of transformers, got {type(source).__name__}")
    architecture = _architecture(config, where)
    config = _as_stored(architecture, config, tensors, where)
    model = _skeleton(architecture, config)
    _fill(model, architecture, config, tensors, where)
    return model.eval()


def _as_stored(
    architecture: AnyArchitecture, config: Config, tensors: Mapping[str, Tensor], where: str
) -> Config:
    """Return the config, with the output matrix untied if one is stored that differs from the embedding.

    Raises:
        ValueError: for an encoder-decoder that stores different embeddings for its two sides; ours share one.
    """
    short = {architecture.short(key): tensors[key] for key in tensors if "layer" not in key}
    if isinstance(architecture, EncoderDecoderArchitecture):
        shared = short.get(architecture.tied_head)
        for name in ("encoder.embed_tokens.weight", "decoder.embed_tokens.weight"):
            if shared is not None and name in short and not same(short[name], shared):
                raise ValueError(
                    f"{where} has a {name!r} that is not {architecture.tied_head!r}: ours share one"
                )
        return config
    names = (f"{architecture.head}.weight", f"{architecture.whole['embed']}.weight")
    head, embed = (short.get(name) for name in names)
    tied = config.get("tie_word_embeddings", architecture.tied)
    if tied and head is not None and embed is not None and not same(head, embed):
        return {**config, "tie_word_embeddings": False}
    return config


def key_map(config: Config) -> dict[str, Source]:
    """Return the source of each parameter of the model that :func:`from_hf` makes for a config of transformers."""
    architecture = _architecture(config, "config")
    return _key_map(_skeleton(architecture, config), architecture, config)


def _architecture(config: Config, where: str) -> AnyArchitecture:
    known: dict[str, AnyArchitecture] = {**DECODERS, **ENCODER_DECODERS}
    kind = config.get("model_type")
    if kind not in known:
        raise ValueError(f"{where} has the model_type {kind!r}; supported are {', '.join(sorted(known))}")
    return known[kind]


def _skeleton(architecture: AnyArchitecture, config: Config) -> Model:
    """Make the model on the meta device, without memory for its parameters."""
    spec = load_spec(architecture.spec(config))
    make: Any = EncoderDecoder if spec.encoder else SequenceModel
    with torch.device("meta"):
        model: Model = make(spec.model_dump(), vocab_size=need(config, architecture.vocab))
    return model


def _key_map(model: Model, architecture: AnyArchitecture, config: Config) -> dict[str, Source]:
    table = architecture.sources(config)
    found = {}
    for name, _ in model.named_parameters():
        module, _, leaf = name.rpartition(".")
        if name in table:
            found[name] = table[name]
        else:
            found[name] = table[module].leaf(leaf)
    return found


def _fill(
    model: Model,
    architecture: AnyArchitecture,
    config: Config,
    tensors: Mapping[str, Tensor],
    where: str,
) -> None:
    """Replace the parameters of a skeleton by tensors of the checkpoint.

    Raises:
        ValueError: if a tensor is missing, left over, quantised or of another shape.
    """
    keys = {architecture.short(key): key for key in tensors}
    if architecture.tied_head is not None and architecture.tied_head in keys:
        keys.setdefault("lm_head.weight", keys[architecture.tied_head])
    sources = _key_map(model, architecture, config)
    wanted = {key for source in sources.values() for key in source.keys}
    missing = sorted(wanted - set(keys))
    if missing:
        raise ValueError(f"{where} lacks {_listed(missing)}; it has {len(keys)} tensors")
    used = wanted | {f"{architecture.head}.weight"}
    unknown = [keys[key] for key in sorted(set(keys) - used) if not architecture.is_unused(key)]
    if unknown:
        raise ValueError(
            f"{where} has {_listed(unknown)}, which a {config['model_type']!r} language model has no place for"
        )
    dtype = tensors[keys[sources[architecture.embed].keys[0]]].dtype
    for name, parameter in list(model.named_parameters()):
        source = sources[name]
        theirs = [checked(tensors[keys[key]].detach(), keys[key], where) for key in source.keys]
        ours = source.change(*theirs)
        if ours.shape != parameter.shape:
            raise ValueError(
                f"tensor {keys[source.keys[0]]!r} of {where} has the shape {tuple(theirs[0].shape)}, which does "
                f"not fit its config: it gives {name!r} the shape {tuple(ours.shape)} "
                f"instead of {tuple(parameter.shape)}"
            )
        module, _, leaf = name.rpartition(".")
        held = torch.empty_like(ours, dtype=dtype, memory_format=torch.contiguous_format).copy_(ours)
        setattr(model.get_submodule(module), leaf, nn.Parameter(held))
    if model.head.options.tied:
        assert isinstance(model.embed, nn.Embedding)
        model.head.tie(model.embed)


def _listed(names: list[str]) -> str:
    shown = ", ".join(map(repr, names[:3]))
    return shown if len(names) <= 3 else f"{shown} and {len(names) - 3} more"
