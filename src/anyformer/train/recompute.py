"""Activation checkpointing: less memory in training for a second forward pass."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from anyformer.contract import Call, Inputs
from anyformer.stack import Stack


@contextmanager
def recomputed(model: nn.Module) -> Iterator[None]:
    """Keep the inputs of each sublayer alone for the backward pass, which computes the rest again (Chen et al. 2016).

    What a sublayer adds to its call (losses, notes, values for later layers) it adds once.
    """
    stacks = [module for module in model.modules() if isinstance(module, Stack)]
    inner = {id(module) for stack in stacks for module in stack.modules() if module is not stack}
    outer = [stack for stack in stacks if id(stack) not in inner]
    sublayers = list(dict.fromkeys(mixer for stack in outer for mixer in stack.mixers))
    for mixer in sublayers:
        mixer.forward = _kept_small(mixer.forward)  # type: ignore[method-assign]
    try:
        yield
    finally:
        for mixer in sublayers:
            del mixer.forward


def _kept_small(forward: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def run(x: Tensor, inputs: Inputs) -> Tensor:
        before, calls = dict(inputs.call.shared), [inputs.call]

        def once(x: Tensor) -> Tensor:
            call = calls.pop() if calls else Call(side=inputs.call.side, shared=dict(before))
            return forward(x, replace(inputs, call=call))

        found: Any = checkpoint(once, x, use_reentrant=False)
        assert isinstance(found, Tensor)
        return found

    return run
