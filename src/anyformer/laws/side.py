"""The law of side inputs: what a mixer says it takes is heard."""

from __future__ import annotations

import torch
from torch import Tensor

from anyformer.contract import Mixer
from anyformer.laws.case import Case, LawBroken, SampleInputs
from anyformer.laws.measures import (
    close,
    limit,
)
from anyformer.laws.registry import register_law

LONG = 130
"""Tokens of a sample: more than a window has, in which a side input may have nothing to say."""


@register_law("side")
@torch.no_grad()
def side(case: Case) -> bool:
    """Every side input of tokens has an example, which changes something; where it tells nothing it is as if not given.

    That it goes where its tokens go is demanded by the laws of padding and streaming, under the same examples.
    """
    mixer = case.mixer()
    sample = case.sample(mixer, 2, limit(mixer, LONG))
    kinds = {name: kind for name, kind in mixer.info.side.items() if kind.of == "token"}
    given = _told(mixer, sample)
    for name, kind in kinds.items():
        if name not in sample.side:
            raise LawBroken(f"info.side names {name!r}, of which example_side gives no example")
        without = _told(mixer, sample.with_side(name, None))
        if torch.equal(given, without):
            raise LawBroken(f"info.side names {name!r}, but call.side[{name!r}] changes nothing")
        silent = sample.with_side(name, torch.full_like(sample.side[name], kind.absent))
        what = f"call.side[{name!r}] of nothing but {kind.absent} against none"
        close(what, _told(mixer, silent), without)
    return bool(kinds)


def _told(mixer: Mixer, sample: SampleInputs) -> Tensor:
    """The output, with the sum of the auxiliary losses behind it."""
    call = sample.call()
    y = sample.forward(mixer, call=call)
    losses = sum((loss.to(y).sum() for loss in call.losses.values()), y.new_zeros(()))
    return torch.cat([y.flatten(), losses[None]])
