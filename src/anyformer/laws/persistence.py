"""Laws of persistence: weights and states are saved, loaded and copied without a change."""

from __future__ import annotations

import copy
import io
import pickle

import torch
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors

from anyformer.contract import Mixer
from anyformer.laws.case import Case, LawBroken
from anyformer.laws.measures import (
    LENGTH,
    close,
    limit,
)
from anyformer.laws.registry import register_law


@register_law("persistence")
@torch.no_grad()
def persistence(case: Case) -> bool:
    """Weights and states are the same, bit for bit, after saving, loading and copying."""
    mixer = case.mixer(torch.float32)
    for name, p in mixer.named_parameters():
        if p.is_complex():
            raise LawBroken(f"parameter {name} is complex; store real pairs")
    sample = case.sample(mixer, 2, limit(mixer, LENGTH), dtype=torch.float32)
    y = sample.forward(mixer)
    tensors = {k: v.clone().contiguous() for k, v in mixer.state_dict().items()}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(99)
        fresh = case.make().to(case.device).eval()
    fresh.load_state_dict(load_tensors(save_tensors(tensors)))
    close("output of reloaded weights", sample.forward(fresh), y, 0.0)
    close("output of a deep copy", sample.forward(copy.deepcopy(mixer)), y, 0.0)
    if not mixer.info.causal:
        return True
    half = sample.x.shape[1] // 2
    _, state = sample.times(0, half).stream(mixer, sample.start(mixer))
    rest = sample.times(half, sample.x.shape[1])
    expected, _ = rest.stream(mixer, state)
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    got, _ = rest.stream(fresh, torch.load(file, weights_only=True))
    close("streaming on from a saved state", got, expected, 0.0)
    return True


@register_law("construction")
@torch.no_grad()
def construction(case: Case) -> bool:
    """A mixer built on the meta device, moved by ``to_empty`` and loaded equals the original, and so does a pickle."""
    mixer = case.mixer(torch.float32)
    sample = case.sample(mixer, 2, limit(mixer, LENGTH), dtype=torch.float32)
    with torch.device("meta"):
        built = case.make()
    built = built.to_empty(device=case.device).eval()
    for tensor in (*built.parameters(), *built.buffers()):  # to_empty leaves memory uninitialised
        tensor.fill_(torch.nan if tensor.is_floating_point() else 1)
    built.load_state_dict(mixer.state_dict())
    ways = {"built on the meta device and loaded": built, "read from a pickle": _pickled(mixer)}
    for how, other in ways.items():
        close(f"output of the mixer {how}", sample.forward(other), sample.forward(mixer), 0.0)
        if mixer.info.causal:
            y, _ = sample.stream(other, sample.start(other))
            close(f"stream of the mixer {how}", y, sample.stream(mixer, sample.start(mixer))[0], 0.0)
    return True


def _pickled(mixer: Mixer) -> Mixer:
    try:
        other: Mixer = pickle.loads(pickle.dumps(mixer))
    except Exception as error:
        raise LawBroken(f"the mixer cannot be pickled: {error}") from error
    return other
