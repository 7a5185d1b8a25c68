"""The law of cost: FLOPs and memory grow with the length as a mixer declares."""

from __future__ import annotations

import torch

from anyformer.laws.case import Case
from anyformer.laws.measures import (
    check_exponent,
    limit,
    saved_bytes,
)
from anyformer.laws.registry import register_law
from anyformer.ops import FlopCounter


@register_law("cost")
def cost(case: Case) -> bool:
    """FLOPs, and bytes kept for the backward pass, grow no faster with the length than declared.

    The call has no side inputs: they may ask for more work, as parts of sets do of a window.
    """
    mixer = case.mixer(torch.float32, train=True)
    top = limit(mixer, 1024)
    lengths = [top // 4, top // 2, top]
    flops, saved = [], []
    for T in lengths:
        sample = case.sample(mixer, 1, T, dtype=torch.float32)
        with torch.no_grad(), FlopCounter() as counter:
            sample.forward(mixer)
        flops.append(counter.total)
        saved.append(saved_bytes(mixer, sample))
    if flops[-1] == 0:
        return False
    check_exponent("FLOPs", mixer.info.cost, lengths, flops)
    check_exponent("bytes kept for the backward", mixer.info.memory, lengths, saved)
    return True
