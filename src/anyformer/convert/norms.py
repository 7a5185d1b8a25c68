"""Replacement of norms by cheaper ones, or by none, in models whose outputs stay the same."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from anyformer.channels.glu import GLU
from anyformer.channels.mlp import MLP
from anyformer.contract import Mixer
from anyformer.layers.norms.prep_bn import PRepBN
from anyformer.mixers.linear.simplified_attention import SimplifiedAttention
from anyformer.mixers.softmax.attention import Attention
from anyformer.models import SequenceModel
from anyformer.models.line import PartSpec
from anyformer.models.spec import ModelSpec
from anyformer.positions import position_info
from anyformer.stack import Stack

_MAPS: dict[type[Mixer], tuple[tuple[str, ...], str]] = {
    Attention: (("q", "k", "v"), "out"),
    SimplifiedAttention: (("q", "k", "v"), "out"),
    MLP: (("up",), "down"),
    GLU: (("gate", "up"), "down"),
}
"""For each sublayer that can be converted: the linear maps of its input, and the one of its output."""


@torch.no_grad()
def pre_rms_norm(model: SequenceModel, *, compact: bool = False) -> SequenceModel:
    """Return a copy of a pre-LayerNorm model with RMSNorm and the same outputs (Jiang 2023, section 3).

    LayerNorm is RMSNorm of x - mean(x). The weights of embeddings and of each sublayer's output are changed so that
    the residual stream always has mean zero; scale and bias of each norm are folded into the maps behind it.

    Args:
        model: a model of ``attention``, ``mlp``, ``glu`` and ``swiglu`` with ``residual`` ``pre`` or ``ladder``.
        compact: leave out the last coordinate of the residual stream, which is minus the sum of the others, and use
            CRMSNorm.

    Returns:
        A new model in evaluation mode, of width D, or D - 1 if compact.

    Raises:
        ValueError: for norms, residuals, parts or positions that cannot be converted.
    """
    spec = model.spec
    _check(model)
    D = spec.dim - compact
    fields = spec.model_dump() | {"dim": D, "norm": "crms_norm" if compact else "rms_norm"}
    fields["head"] = _with_own_matrix(spec.head)
    fields["layers"] = [_explicit(part, spec).model_dump() for part in spec.layers]
    fields["channel"] = None if spec.channel is None else _explicit(spec.channel, spec).model_dump()
    new = SequenceModel(fields, model.vocab_size, model.num_features, model.num_outputs, model.pool)
    new.to(next(model.parameters()).dtype).load_state_dict(_tensors(model, D))
    return new.eval()


@torch.no_grad()
def fold_norms(model: SequenceModel) -> SequenceModel:
    """Return a copy of a trained model with ``norm=prep_bn`` without norms, with the same outputs (Guo 2024, 3.2).

    At the end of training, a progressive batch norm is a scale and a shift of each channel, which are folded into
    the maps behind it.

    Args:
        model: a model of ``attention``, ``simplified_attention``, ``mlp``, ``glu`` and ``swiglu`` with ``residual``
            ``pre`` or ``ladder``, whose norms have reached share 0.

    Returns:
        A new model in evaluation mode.

    Raises:
        ValueError: for other norms, residuals or parts, or if a norm's share of LayerNorm is not 0 yet.
    """
    spec, stack = model.spec, model.body.stack
    _check_fields(spec, {"norm": ("prep_bn",), "residual": ("pre", "ladder")})
    assert isinstance(stack, Stack)
    for mixer in stack.mixers:
        _maps(mixer)
    norms = [*stack.residual.norms, stack.residual.last]
    for norm in norms:
        assert isinstance(norm, PRepBN)
        if float(norm.share) > 0:
            raise ValueError(
                f"model must have norms whose share is 0, at the end of training; got {float(norm.share)}"
            )
    fields = spec.model_dump() | {"norm": "none"}
    fields["head"] = _with_own_matrix(spec.head)
    fields["layers"] = [_explicit(part, spec).model_dump() for part in spec.layers]
    fields["channel"] = None if spec.channel is None else _explicit(spec.channel, spec).model_dump()
    new = SequenceModel(fields, model.vocab_size, model.num_features, model.num_outputs, model.pool)
    found = {k: v.clone() for k, v in model.state_dict().items() if ".residual." not in k}
    for i, (mixer, norm) in enumerate(zip(stack.mixers, norms, strict=False)):
        for name in _maps(mixer)[0]:
            found |= _folded(f"body.stack.sublayers.{i}.{name}", getattr(mixer, name), norm)
        writing = _maps(mixer)[1]
        found |= _with_bias(f"body.stack.sublayers.{i}.{writing}", getattr(mixer, writing))
    found |= _folded("head", model.head, norms[-1])
    new.to(next(model.parameters()).dtype).load_state_dict(found)
    return new.eval()


def _folded(name: str, linear: nn.Module, norm: nn.Module) -> dict[str, Tensor]:
    """Return weight and bias of a linear map with the affine norm before it folded in."""
    assert isinstance(linear, nn.Linear) and isinstance(norm, PRepBN)
    scale, shift = norm.affine()
    bias = linear.weight @ shift
    return {
        f"{name}.weight": linear.weight * scale,
        f"{name}.bias": bias if linear.bias is None else bias + linear.bias,
    }


def _with_bias(name: str, linear: nn.Module) -> dict[str, Tensor]:
    if not isinstance(linear, nn.Linear) or linear.bias is not None:
        return {}
    return {f"{name}.bias": linear.weight.new_zeros(linear.out_features)}


def _check_fields(spec: ModelSpec, wanted: dict[str, tuple[Any, ...]]) -> None:
    for name, allowed in wanted.items():
        if getattr(spec, name) not in allowed:
            raise ValueError(
                f"model must have {name}={' or '.join(map(str, allowed))}, got {getattr(spec, name)!r}"
            )
    if spec.embed.options.get("normed"):
        raise ValueError(f"model must have no norm on its embedded input, got embed={spec.embed}")


def _check(model: SequenceModel) -> None:
    spec, stack = model.spec, model.body.stack
    _check_fields(spec, {"norm": ("layer_norm",), "residual": ("pre", "ladder")})
    facts = position_info({"name": spec.positions.name, "options": dict(spec.positions.options)})
    if facts.adds and spec.positions.name != "learned":
        raise ValueError(
            f"model must have positions that can be moved to mean zero, got {spec.positions.name!r}"
        )
    assert isinstance(stack, Stack)
    for mixer in stack.mixers:
        _maps(mixer)


def _maps(mixer: Mixer) -> tuple[tuple[str, ...], str]:
    for kind, maps in _MAPS.items():
        if isinstance(mixer, kind):
            if isinstance(mixer, MLP) and not isinstance(mixer.down, nn.Linear):
                break
            return maps
    raise ValueError(f"model must be of {', '.join(k.__name__ for k in _MAPS)}, got {mixer.info.name}")


def _with_own_matrix(head: PartSpec) -> dict[str, Any]:
    """Return the head with a bias, and with a matrix of its own."""
    return {**head.model_dump(), "options": {**head.options, "bias": True, "tied": False}}


def _explicit(part: PartSpec, spec: ModelSpec) -> PartSpec:
    """Return a part with biases, and with its inner widths written out, because the model's width may change."""
    options: dict[str, Any] = {**part.options, "bias": True}
    if part.name == "simplified_attention":
        return part.model_copy(update={"options": options})
    if part.name == "attention":
        options["head_dim"] = options.get("head_dim") or spec.dim // options.get("num_heads", 4)
        if "channel" in options and options["channel"] is not None:
            channel = options["channel"]
            channel = PartSpec(name=channel) if isinstance(channel, str) else PartSpec.model_validate(channel)
            options["channel"] = _explicit(channel, spec).model_dump() if channel.name != "none" else "none"
    else:
        factor = options.pop("factor", 4 if part.name == "mlp" else 8 / 3)
        options["hidden_dim"] = options.get("hidden_dim") or round(spec.dim * factor)
    return part.model_copy(update={"options": options})


def _tensors(model: SequenceModel, D: int) -> dict[str, Tensor]:
    """Return the state dict of the new model of width D."""
    stack = model.body.stack
    found: dict[str, Tensor] = {k: v.clone() for k, v in model.state_dict().items()}
    for key in [k for k in found if ".residual." in k]:
        del found[key]
    for i, (mixer, norm) in enumerate(zip(stack.mixers, stack.residual.norms, strict=True)):
        reading, writing = _maps(mixer)
        at = f"body.stack.sublayers.{i}."
        for name in reading:
            found |= _reading(f"{at}{name}", getattr(mixer, name), norm, D)
        found |= _writing(f"{at}{writing}", getattr(mixer, writing), D)
        found[f"body.stack.residual.norms.{i}.weight"] = torch.ones(D)
    last = stack.residual.last
    found["body.stack.residual.last.weight"] = torch.ones(D)
    found |= _reading("head", model.head, last, D)
    if isinstance(model.embed, nn.Embedding):
        found["embed.weight"] = _centred(model.embed.weight, -1)[:, :D]
    else:
        found |= _writing("embed", model.embed, D)
    for key in [k for k in found if k.startswith("body.embed.")]:
        found[key] = _centred(found[key], -1)[..., :D]
    return found


def _reading(name: str, linear: nn.Module, norm: nn.Module, D: int) -> dict[str, Tensor]:
    """Return weight and bias of a map with the norm before it folded in, of D inputs.

    If it had D + 1 inputs, the last one was minus the sum of the others.
    """
    assert isinstance(linear, nn.Linear) and isinstance(norm, nn.LayerNorm)
    weight = linear.weight * norm.weight
    bias = linear.weight @ norm.bias
    if weight.shape[1] > D:
        weight = weight[:, :D] - weight[:, D:]
    return {
        f"{name}.weight": weight,
        f"{name}.bias": bias if linear.bias is None else bias + linear.bias,
    }


def _writing(name: str, linear: nn.Module, D: int) -> dict[str, Tensor]:
    """Return weight and bias of a map into the residual stream, with the first D of its outputs, of mean zero."""
    assert isinstance(linear, nn.Linear)
    bias = linear.weight.new_zeros(linear.out_features) if linear.bias is None else linear.bias
    return {f"{name}.weight": _centred(linear.weight, 0)[:D], f"{name}.bias": _centred(bias, 0)[:D]}


def _centred(weight: Tensor, axis: int) -> Tensor:
    return weight - weight.mean(axis, keepdim=True)
