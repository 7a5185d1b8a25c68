"""Stacks side by side."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from anyformer.contract import Inputs, Mixer, MixerInfo, Wrapper
from anyformer.stack import combine
from anyformer.state import State
from anyformer.wrappers import register_wrapper


@register_wrapper("beside")
class Beside(Wrapper):
    """The sum of what several stacks add to the same tokens: y = sum over i of (stack_i(x) - x).

    Of stacks of one layer it is the sum of their token mixers, as of message passing and global attention in a layer of
    GPS (Rampášek et al. 2022, arXiv 2205.12454, eq. 2-4), or of attention and a state space. In a spec it stands for
    the token mixer of a layer: the channel mixer is behind the sum, and the layers inside have none unless they say so.

    Args:
        stacks: two or more; if all of them stream, so does the sum.
    """

    inner_norm = False
    is_token_mixer = True

    class Options(Wrapper.Options):
        def info(self, *stacks: MixerInfo) -> MixerInfo:
            if len(stacks) < 2:
                raise ValueError(
                    f"beside needs two or more stacks, such as beside([a], [b]), got {len(stacks)}"
                )
            past, future = ([info.reach[end] for info in stacks] for end in (0, 1))
            return replace(combine(stacks), reach=(_farthest(past), _farthest(future)))

    options: Options

    def __init__(self, dim: int, *stacks: Mixer, **options: Any) -> None:
        super().__init__(dim, *stacks, **options)
        self.stacks = nn.ModuleList(stacks)

    def _forward(self, x: Tensor, inputs: Inputs) -> Tensor:
        y = torch.zeros_like(x)
        for stack in self.stacks:
            y = y + (stack(x, inputs) - x)
        return y

    def _init_state(self, batch_size: int, device: torch.device, dtype: torch.dtype) -> State:
        return [stack.own_state(batch_size, device, dtype) for stack in self._mixers]

    def _stream(self, x: Tensor, state: State, inputs: Inputs) -> tuple[Tensor, State]:
        y, new = torch.zeros_like(x), []
        for stack, own in zip(self._mixers, state, strict=True):
            part, own = stack.stream(x, own, inputs)
            y = y + (part - x)
            new.append(own)
        return y, new

    @property
    def _mixers(self) -> list[Mixer]:
        return list(self.stacks)  # type: ignore[arg-type]


def _farthest(ends: list[int | None]) -> int | None:
    return None if None in ends else max(end for end in ends if end is not None)
