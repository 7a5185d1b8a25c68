"""Widths for a given number of parameters."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from anyformer.channels import channels
from anyformer.contract import Mixer
from anyformer.models.encoder_decoder import EncoderDecoder
from anyformer.models.sequence import SequenceModel
from anyformer.models.spec import ModelSpec
from anyformer.ops import FlopCounter
from anyformer.parts import option_names
from anyformer.schema import Stream, Values


def count_parameters(spec: ModelSpec, **io: Any) -> int:
    """Count the parameters of a spec's model, without allocating it; hashed tables are left out (:func:`looked_up`)."""
    with torch.device("meta"):
        cls = EncoderDecoder if spec.encoder and "source" not in io else SequenceModel
        model = cls(spec.model_dump(), **io)
    return model.num_parameters() - looked_up(model)


def looked_up(model: nn.Module) -> int:
    """Count the parameters of hashed tables: a token reads a few rows, and pays nothing for the size of the table."""
    found = {
        mixer.get_parameter(name): mixer.get_parameter(name).numel()
        for mixer in model.modules()
        if isinstance(mixer, Mixer)
        for name, hint in mixer.hints().items()
        if hint.get("looked_up")
    }
    return sum(found.values())


def match_parameters(spec: ModelSpec, target: int, *, tolerance: float = 0.02, **io: Any) -> ModelSpec:
    """Solve for the width, and if needed the hidden width of the channel mixer, that comes nearest to ``target``.

    Args:
        spec: its ``dim`` and its channel mixer's ``hidden_dim`` are solved for, the rest stays.
        target: the wanted number of parameters.
        tolerance: the largest accepted relative distance.
        io: further arguments of :class:`SequenceModel`.

    Raises:
        ValueError: no width comes near enough; names the nearest.
    """
    best = nearest_size(spec, target, tolerance=tolerance, **io)
    size = count_parameters(best, **io)
    if abs(size / target - 1) > tolerance:
        raise ValueError(
            f"no width of {spec} comes within {tolerance:.0%} of {target:,} parameters; "
            f"the nearest, dim={best.dim}, has {size:,}"
        )
    return best


def nearest_size(spec: ModelSpec, target: int, *, tolerance: float = 0.0, **io: Any) -> ModelSpec:
    """Like :func:`match_parameters`, but accept the nearest at any distance; stop the search within ``tolerance``."""
    best, distance = spec, float("inf")
    for step in (8, 4, 2, 1):
        for candidate in _near(spec, target, step, io):
            away = abs(count_parameters(candidate, **io) / target - 1)
            if away < distance:
                best, distance = candidate, away
        if distance <= tolerance:
            break
    return best


def _near(spec: ModelSpec, target: int, step: int, io: dict[str, Any]) -> list[ModelSpec]:
    """Return specs with widths, multiples of ``step``, around the target, each also with its channel mixer fitted."""
    low, high = 0, 1
    while (size := _size(spec, high * step, io)) is None or size < target:
        low, high = high, high * 2
        if high * step > 65536:
            return []
    while high - low > 1:
        middle = (low + high) // 2
        size = _size(spec, middle * step, io)
        if size is None:  # not every width can be built: continue above it
            above = [m for m in range(middle, high) if _size(spec, m * step, io) is not None]
            if not above:
                high = middle
                continue
            middle = above[0]
            size = _size(spec, middle * step, io)
        assert size is not None
        low, high = (middle, high) if size < target else (low, middle)
        if low >= high:
            break
    found = []
    for width in {low * step, high * step}:
        if width and _size(spec, width, io) is not None:
            sized = spec.model_copy(update={"dim": width})
            found += [sized, *_fit_channel(sized, target, io)]
    return found


def _size(spec: ModelSpec, dim: int, io: dict[str, Any]) -> int | None:
    """Return the number of parameters at width ``dim``, ``None`` if that width cannot be built."""
    try:
        return count_parameters(spec.model_copy(update={"dim": dim}), **io)
    except ValueError:
        return None


def _fit_channel(spec: ModelSpec, target: int, io: dict[str, Any]) -> list[ModelSpec]:
    """Return specs with the hidden width of the channel mixer, if any, solved for, as sizes are linear in it."""
    if spec.channel is None or "hidden_dim" not in option_names(channels, spec.channel.name):
        return []

    def at(hidden: int) -> ModelSpec:
        assert spec.channel is not None
        options = {**{k: v for k, v in spec.channel.options.items() if k != "factor"}, "hidden_dim": hidden}
        return spec.model_copy(update={"channel": spec.channel.model_copy(update={"options": options})})

    for unit in (1, 2, 4, 8, 16):  # grouped channels need multiples
        try:
            one, two = count_parameters(at(unit), **io), count_parameters(at(2 * unit), **io)
            break
        except ValueError:
            continue
    else:
        return []
    if two == one:
        return []
    units = round((target - one) / (two - one)) + 1
    # a channel mixer far from its usual width would be another architecture
    usual = (count_parameters(spec, **io) - one) / (two - one) + 1
    return [at(units * unit)] if usual / 3 <= units <= usual * 3 else []


@torch.no_grad()
def flops_per_token(
    model: SequenceModel, x: Tensor | Values, source: Stream | None = None, length: int | None = None
) -> float:
    """Return the FLOPs for each token of a forward pass over x, one sequence, and its source if it has one.

    Args:
        length: the number of tokens, by default that which the model makes of x and the source.
    """
    was_training = model.training
    model.eval()
    with FlopCounter() as counter:
        model(x, source=source, call=model.example_call(1, model.length(x, source)))
    model.train(was_training)
    return counter.total / (length or model.length(x, source))
