"""The law of side inputs: a mixer uses the side inputs that it declares."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from anyformer.contract import Mixer
from anyformer.laws.case import Case, LawBroken, SampleInputs
from anyformer.laws.measures import (
    close,
    expect_error,
    limit,
)
from anyformer.laws.registry import register_law

LONG = 130
"""Tokens of a sample: more than a window has, within which a side input may have no effect."""


@register_law("side")
@torch.no_grad()
def side(case: Case) -> bool:
    """Every declared side input of tokens or pairs has an example that changes the output; its neutral value changes
    nothing. Without one that is required the mixer refuses to run.

    The laws of padding, streaming and definition run without side inputs and with these examples, and so check that
    side inputs move with their tokens; the others but that of gradients run without.
    """
    mixer = case.mixer()
    sample = replace(case, side=True).sample(mixer, 2, limit(mixer, LONG))
    kinds = {name: kind for name, kind in mixer.info.side.items() if kind.of != "sample"}
    for name in kinds:
        if name not in sample.side:
            raise LawBroken(f"info.side names {name!r}, of which example_side gives no example")
    given = _output_and_losses(mixer, sample)
    for name, kind in kinds.items():
        silent = sample.with_side(name, torch.full_like(sample.side[name], kind.absent))
        bare = sample.with_side(name, None)
        if kind.required:
            expect_error(f"no {name}", name, partial(bare.forward, mixer))
        without = _output_and_losses(mixer, silent if kind.required else bare)
        if torch.equal(given, without):
            raise LawBroken(f"info.side names {name!r}, but call.side[{name!r}] changes nothing")
        what = f"call.side[{name!r}] of nothing but {kind.absent} against none"
        close(what, _output_and_losses(mixer, silent), without)
    return bool(kinds)


def _output_and_losses(mixer: Mixer, sample: SampleInputs) -> Tensor:
    """Return the output, flattened, with the sum of the auxiliary losses appended."""
    call = sample.call()
    y = sample.forward(mixer, call=call)
    losses = sum((loss.to(y).sum() for loss in call.losses.values()), y.new_zeros(()))
    return torch.cat([y.flatten(), losses[None]])
