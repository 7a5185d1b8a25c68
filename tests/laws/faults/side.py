"""Faults of side inputs."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from torch import Tensor

from anyformer import Call, MixerInfo, SideInput
from anyformer.contract import Inputs
from anyformer.inputs import Layout
from anyformer.laws.faults import Sound, breaks
from anyformer.state import State


class Scaled(Sound):
    """Multiplies each token with a side input."""

    class Options(Sound.Options):
        def info(self) -> MixerInfo:
            return MixerInfo(reach=(None, 0), state="constant", side={"scale": SideInput(absent=1)})

    def example_side(self, batch_size: int, length: int, generator: torch.Generator) -> dict[str, Tensor]:
        return {"scale": torch.rand(batch_size, length, generator=generator, dtype=torch.float64)}

    def _run(self, x: Tensor, initial: Tensor, inputs: Inputs) -> tuple[Tensor, Tensor]:
        scale = inputs.call.side.get("scale")
        return super()._run(x if scale is None else x * scale.to(x.dtype)[..., None], initial, inputs)


def without_side(inputs: Inputs) -> Inputs:
    return inputs.replace(call=dataclasses.replace(inputs.call, side={}))


@breaks("side", "no example")
class NoExample(Scaled):
    """Says nothing of what its side input looks like."""

    def example_side(self, *_: Any) -> dict[str, Tensor]:
        return {}


@breaks("side", "changes nothing")
class HandsNothingOn(Scaled):
    """Drops the call on the way to what reads it."""

    def _forward(self, x: Tensor, inputs: Inputs) -> Tensor:
        return super()._forward(x, without_side(inputs))


@breaks("side", "against none")
class NoneIsZero(Scaled):
    """Takes a side input that is not given for one of zeros, and says that it is one of ones."""

    def _run(self, x: Tensor, initial: Tensor, inputs: Inputs) -> tuple[Tensor, Tensor]:
        return super()._run(x if inputs.call.side else 0 * x, initial, inputs)


@breaks("padding", "against the sample alone")
class DropsSide(Scaled):
    """Reads a side input, but not in a batch with padding."""

    def _run(self, x: Tensor, initial: Tensor, inputs: Inputs) -> tuple[Tensor, Tensor]:
        return super()._run(x, initial, inputs if inputs.mask is None else without_side(inputs))


class _Behind(Layout):
    """Moves the tokens and leaves their side inputs where they are."""

    def inputs(self, count: Any, positions: Any, context: Any, call: Any, *rest: Any) -> Inputs:
        found = super().inputs(count, positions, context, None, *rest)
        return found.replace(call=call)


@breaks("padding", "left padding against the sample alone")
class LeavesSideBehind(Scaled):
    """Aligns the tokens and not their side inputs."""

    def _layout(self, x: Tensor, mask: Tensor | None, *_: Any, **__: Any) -> Layout:
        return _Behind.of(x, mask)


@breaks("padding", "packed against alone")
class LeavesSideOfPacked(Scaled):
    """Gives packed sequences the side inputs of those that they are packed with."""

    def _layout(self, x: Tensor, mask: Tensor | None, *rest: Any, **more: Any) -> Layout:
        if mask is None or mask.dtype == torch.bool:
            return super()._layout(x, mask, *rest, **more)
        layout = Layout.of(x, mask)
        assert layout.gather is not None
        width = layout.gather.shape[1]
        return dataclasses.replace(
            layout, gather=layout.gather // x.shape[1] * x.shape[1] + torch.arange(width)
        )


@breaks("streaming", "against the whole")
class StreamsWithoutSide(Scaled):
    """Does not read its side input while streaming."""

    def _stream(self, x: Tensor, state: State, inputs: Inputs) -> tuple[Tensor, State]:
        return super()._stream(x, state, without_side(inputs))


@breaks("padding", "a mask with holes in a grid: no error")
class MovesOnTheGrid(Sound):
    """Reads tokens as rows of three, wherever those left out stood."""

    class Options(Sound.Options):
        def info(self) -> MixerInfo:
            return MixerInfo(reach=(None, 0), state="constant", grid=True)

    def _run(self, x: Tensor, initial: Tensor, inputs: Inputs) -> tuple[Tensor, Tensor]:
        return super()._run(x * (inputs.index % 3 + 1)[..., None], initial, inputs)

    def _layout(self, x: Tensor, mask: Tensor | None, *_: Any, **__: Any) -> Layout:
        return Layout.of(x, mask)


@breaks("errors", "a side input of more axes")
class TakesPairs(Scaled):
    """Takes numbers of pairs of tokens for numbers of tokens."""

    def _layout(self, x: Tensor, mask: Tensor | None, call: Any, *rest: Any, **more: Any) -> Layout:
        side = {
            name: value[..., 0]
            if isinstance(value, Tensor) and value.ndim == 3 and name == "scale"
            else value
            for name, value in call.side.items()
        }
        super()._layout(x, mask, Call(side=side), *rest, **more)
        return Layout.of(x, mask)

    def _run(self, x: Tensor, initial: Tensor, inputs: Inputs) -> tuple[Tensor, Tensor]:
        scale = inputs.call.side.get("scale")
        return Sound._run(self, x if scale is None else x * scale.to(x)[..., :1], initial, inputs)


@breaks("side", "no scale: no error")
class RunsWithout(Scaled):
    """Says that it needs a side input, and runs without it."""

    class Options(Sound.Options):
        def info(self) -> MixerInfo:
            side = {"scale": SideInput(absent=1, required=True)}
            return MixerInfo(reach=(None, 0), state="constant", side=side)

    def _layout(self, x: Tensor, mask: Tensor | None, *_: Any, **__: Any) -> Layout:
        return Layout.of(x, mask)


class Related(Sound):
    """Adds the tokens that pairs relate to each."""

    class Options(Sound.Options):
        def info(self) -> MixerInfo:
            return MixerInfo(reach=(None, None), side={"pairs": SideInput("pair")})

    def example_side(self, batch_size: int, length: int, generator: torch.Generator) -> dict[str, Tensor]:
        return {"pairs": torch.rand(batch_size, length, length, generator=generator, dtype=torch.float64)}

    def _forward(self, x: Tensor, inputs: Inputs) -> Tensor:
        pairs = inputs.call.side.get("pairs")
        y = super()._forward(x, inputs)
        return y if pairs is None else y + pairs.to(x.dtype) @ x


class _OneAxis(Layout):
    """Moves pairs with the tokens that look, and not with those that they look at."""

    def inputs(self, count: Any, positions: Any, context: Any, call: Any, *rest: Any) -> Inputs:
        found = super().inputs(count, positions, context, None, *rest)
        side = {name: self.align(value)[:, :, : self.shape[1]] for name, value in call.side.items()}
        return found.replace(call=dataclasses.replace(call, side=side))


@breaks("padding", "against the sample alone")
class MovesOneAxisOfPairs(Related):
    """Aligns pairs along one axis only."""

    def _layout(self, x: Tensor, mask: Tensor | None, *_: Any, **__: Any) -> Layout:
        return _OneAxis.of(x, mask)
