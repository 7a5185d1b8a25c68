"""The law of streaming: a sequence in pieces gives the outputs of the whole sequence."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor

from anyformer.contract import Mixer
from anyformer.laws.case import Case, LawBroken, SampleInputs
from anyformer.laws.measures import (
    check_exponent,
    close,
    gradient_of,
    limit,
    ragged_mask,
    weights_for,
)
from anyformer.laws.registry import register_law
from anyformer.state import select_rows, state_bytes


@register_law("streaming")
def streaming(case: Case) -> bool:
    """A sequence streamed in any pieces gives the outputs and gradients of the whole, also with masks, and from copied
    states; the size of the state grows as declared."""
    if not case.info.causal:
        return False
    for variant in case.variants():
        _streaming(variant)
    return True


def _streaming(case: Case) -> None:
    mixer = case.mixer()
    T = limit(mixer, 37)
    sample = case.sample(mixer, 3, T)
    splits = {
        "one by one": [1] * T,
        "in one piece": [T],
        "in mixed pieces": [2, 0, 1, 7, 1, T],
        "in two pieces": [T // 2, T],
    }
    masks = {"": None, " with ragged masks": ragged_mask(3, T).to(sample.x.device)}
    for ragged, mask in masks.items():
        whole = (
            _each_alone(mixer, sample, mask) if mixer.info.grid else sample.forward(mixer, mask)
        ).detach()
        for how, sizes in splits.items():
            y, _ = _in_pieces(mixer, sample, sizes, mask)
            close(f"streamed {how}{ragged} against the whole", y.detach(), whole)
    _stream_gradient(mixer, sample)
    _stream_copied(mixer, sample)
    _stream_bytes(case, mixer)


@torch.no_grad()
def _each_alone(mixer: Mixer, sample: SampleInputs, mask: Tensor | None) -> Tensor:
    """Return the outputs for each sample's real tokens alone, (B, T, D); grids refuse masks with holes."""
    if mask is None:
        return sample.forward(mixer)
    y = torch.zeros_like(sample.x)
    for b in range(len(mask)):
        y[b, mask[b]] = sample.tokens(b, mask[b]).forward(mixer)[0]
    return y


def _in_pieces(
    mixer: Mixer, sample: SampleInputs, sizes: list[int], mask: Tensor | None
) -> tuple[Tensor, Any]:
    state, out, start = sample.start(mixer), [], 0
    T = sample.x.shape[1]
    for size in sizes:
        stop = min(start + size, T)
        y, state = sample.times(start, stop).stream(
            mixer, state, None if mask is None else mask[:, start:stop]
        )
        if y.shape[1] != stop - start:
            raise LawBroken(f"streaming {stop - start} tokens gave {y.shape[1]} outputs")
        out.append(y)
        start = stop
    return torch.cat(out, 1), state


def _stream_gradient(mixer: Mixer, sample: SampleInputs) -> None:
    T = sample.x.shape[1]
    found = []
    for sizes in (None, [T // 3, 1, T]):
        mixer.zero_grad(set_to_none=True)
        x = sample.x.clone().requires_grad_()
        given = sample.with_x(x)
        y = given.forward(mixer) if sizes is None else _in_pieces(mixer, given, sizes, None)[0]
        (y * weights_for(y)).sum().backward()
        found.append({"x": gradient_of(x), **{n: gradient_of(p) for n, p in mixer.named_parameters()}})
    for name, expected in found[0].items():
        close(f"gradient of {name} through the state", found[1][name], expected, 1e-8)


@torch.no_grad()
def _stream_copied(mixer: Mixer, sample: SampleInputs) -> None:
    T = sample.x.shape[1]
    half = T // 2
    order = torch.tensor([2, 0, 0], device=sample.x.device)
    first, state = sample.times(0, half).stream(mixer, sample.start(mixer))
    rest = sample.times(half, T)
    y, _ = rest.stream(mixer, state)
    again, _ = rest.stream(mixer, copy.deepcopy(state))
    close("streaming on from a copied state", again, y, 0.0)
    moved, _ = rest.rows(order).stream(mixer, select_rows(state, order))
    close("streaming on from a reordered state", moved, y[order], 1e-9)
    empty, same = sample.times(0, 0).stream(mixer, state)
    if empty.shape[1] != 0:
        raise LawBroken(f"streaming no tokens gave {empty.shape[1]} outputs")
    y_same, _ = rest.stream(mixer, same)
    close("streaming on after no tokens", y_same, y, 0.0)


@torch.no_grad()
def _stream_bytes(case: Case, mixer: Mixer) -> None:
    sizes = []
    lengths = [64, 128, 256, 512]
    if mixer.info.max_length is not None:
        top = mixer.info.max_length
        lengths = [top // 8, top // 4, top // 2, top]
    for T in lengths:
        sample = case.sample(mixer, 1, T)
        _, state = sample.stream(mixer, sample.start(mixer))
        sizes.append(state_bytes(state["own"]))
    check_exponent("state bytes", mixer.info.state, lengths, sizes, settled=True)
    if mixer.info.state == "none" and sizes[-1]:
        raise LawBroken(f"state is declared 'none' but holds {sizes[-1]} bytes")
