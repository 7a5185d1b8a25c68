"""Laws of purity: a call depends on its inputs alone, and changes nothing."""

from __future__ import annotations

import torch
from torch import Tensor

from anyformer.laws.case import Case, LawBroken
from anyformer.laws.measures import (
    LENGTH,
    close,
    limit,
)
from anyformer.laws.registry import register_law
from anyformer.state import leaves, map_state


@register_law("purity")
@torch.no_grad()
def purity(case: Case) -> bool:
    """Forward and stream write to no buffer, input or state, in training and in evaluation mode."""
    for train in (False, True):
        mixer = case.mixer(train=train)
        sample = case.sample(mixer, 2, limit(mixer, LENGTH))
        before = {k: v.clone() for k, v in mixer.state_dict().items()} | {
            f"buffer {k}": v.clone() for k, v in mixer.named_buffers()
        }
        x = sample.x.clone()
        sample.forward(mixer)
        if mixer.info.causal:
            half = x.shape[1] // 2
            _, state = sample.times(0, half).stream(mixer, sample.start(mixer))
            held = map_state(Tensor.clone, state)
            sample.times(half, x.shape[1]).stream(mixer, state)
            for was, now in zip(leaves(held), leaves(state), strict=True):
                if not torch.equal(was, now):
                    raise LawBroken("stream wrote into the state that it was given")
        after = dict(mixer.state_dict()) | {f"buffer {k}": v for k, v in mixer.named_buffers()}
        for name, value in before.items():
            if not torch.equal(value, after[name]):
                raise LawBroken(f"{name} was written by a call in {'training' if train else 'evaluation'}")
        if not torch.equal(sample.x, x):
            raise LawBroken("x was written by a call")
    return True


@register_law("independence")
@torch.no_grad()
def independence(case: Case) -> bool:
    """The output for a sample does not depend on the other samples of its batch; evaluation repeats bit for bit."""
    mixer = case.mixer()
    sample = case.sample(mixer, 3, limit(mixer, LENGTH))
    y = sample.forward(mixer)
    close("a second evaluation", sample.forward(mixer), y, 0.0)
    for b in range(3):
        close(
            "a sample alone against it in a batch", sample.rows(slice(b, b + 1)).forward(mixer), y[b : b + 1]
        )
    loud = sample.x.clone()
    loud[1:] *= 100
    close("a sample beside louder ones", sample.with_x(loud).forward(mixer)[:1], y[:1])
    return True


@register_law("modes")
@torch.no_grad()
def modes(case: Case) -> bool:
    """Training mode and evaluation mode give the same outputs: nothing is dropped or drawn at random."""
    sample = case.sample(case.mixer(), 2, limit(case.mixer(), LENGTH))
    close(
        "output in training against evaluation",
        sample.forward(case.mixer(train=True)),
        sample.forward(case.mixer()),
    )
    return True
