"""A stack of layers on a residual carry."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from anyformer.contract import GROWTHS, Inputs, Mixer, MixerInfo, SideInput, Wrapper
from anyformer.stack import create_residual
from anyformer.state import State


def combine(infos: Sequence[MixerInfo]) -> MixerInfo:
    """Return the info of mixers in sequence: reaches add up, and the fastest growth counts."""

    def reach(side: int) -> int | None:
        ends = [info.reach[side] for info in infos]
        return None if None in ends else sum(e for e in ends if e is not None)

    def worst(what: str) -> str:
        return max((getattr(info, what) for info in infos), key=GROWTHS.index, default="none")

    limits = [info.max_length for info in infos if info.max_length is not None]
    return MixerInfo(
        reach=(reach(0), reach(1)),
        cost=worst("cost"),
        memory=worst("memory"),
        state=worst("state"),
        side=_sides(infos),
        context=any(info.context for info in infos),
        grid=any(info.grid for info in infos),
        numbers_tokens=any(info.numbers_tokens for info in infos),
        max_length=min(limits, default=None),
        exceptions={law: reason for info in infos for law, reason in info.exceptions.items()},
    )


def _sides(infos: Sequence[MixerInfo]) -> dict[str, SideInput]:
    """The side inputs that any of them takes."""
    found: dict[str, SideInput] = {}
    for info in infos:
        for name, kind in info.side.items():
            if found.setdefault(name, kind) != kind:
                raise ValueError(
                    f"layers must agree on the side input {name!r}, got {found[name]} and {kind} of {info.name}"
                )
    return dict(sorted(found.items()))


class Stack(Wrapper):
    """Sublayers in layers on a residual carry.

    Args:
        dim: width D.
        layers: the sublayers of each layer; a module may occur several times (shared weights, separate states).
        residual: a residual carry by name.
        norm: a norm by name.
        dropout: share of a sublayer's output channels dropped in training.
        last_norm: end with a norm, in carries other than post-norm; else the stack returns the residual stream itself.
        steps: factors on the sublayers' outputs, in order over all layers; by default 1.
    """

    class Options(Wrapper.Options):
        residual: str = "pre"
        norm: str = "rms_norm"
        norm_eps: float = 1e-5
        dropout: float = 0.0
        last_norm: bool = True
        steps: Sequence[float] | None = None

        def info(self, *sublayers: MixerInfo) -> MixerInfo:
            found = combine(sublayers)
            excuse = {"modes": "outputs are dropped in training"} if self.dropout else {}
            return replace(found, exceptions={**found.exceptions, **excuse})

    options: Options

    def __init__(self, dim: int, layers: Sequence[Sequence[Mixer]], **options: Any) -> None:
        super().__init__(dim, *(m for layer in layers for m in layer), **options)
        o = self.options
        for mixer in (m for layer in layers for m in layer):
            if mixer.dim != dim:
                raise ValueError(f"layers must have width {dim}, got {mixer.info.name} of width {mixer.dim}")
        self.sublayers = nn.ModuleList(m for layer in layers for m in layer)
        self.residual = create_residual(
            o.residual, dim, [len(layer) for layer in layers], o.norm, o.norm_eps, o.last_norm
        )
        self.dropout = nn.Dropout(o.dropout)
        self.steps = [1.0] * len(self.sublayers) if o.steps is None else list(o.steps)
        if len(self.steps) != len(self.sublayers):
            raise ValueError(f"steps must be {len(self.sublayers)} numbers, one a sublayer, got {o.steps}")

    @property
    def mixers(self) -> list[Mixer]:
        """The sublayers in order."""
        return list(self.sublayers)  # type: ignore[arg-type]

    def _forward(self, x: Tensor, inputs: Inputs) -> Tensor:
        carry = self.residual.start(x)
        for i, mixer in enumerate(self.mixers):
            h, carry = self.residual.read(carry, i, inputs)
            carry = self._write(carry, i, mixer(h, inputs), inputs)
        return self.residual.end(carry, inputs)

    def _write(self, carry: Any, sublayer: int, y: Tensor, inputs: Inputs) -> Any:
        y, step = self.dropout(y) if self.training else y, self.steps[sublayer]
        return self.residual.write(carry, sublayer, y if step == 1 else step * y, inputs)

    def _init_state(self, batch_size: int, device: torch.device, dtype: torch.dtype) -> State:
        return [mixer.own_state(batch_size, device, dtype) for mixer in self.mixers]

    def _stream(self, x: Tensor, state: State, inputs: Inputs) -> tuple[Tensor, State]:
        carry = self.residual.start(x)
        new = []
        for i, mixer in enumerate(self.mixers):
            h, carry = self.residual.read(carry, i, inputs)
            y, own = mixer.stream(h, state[i], inputs)
            carry = self._write(carry, i, y, inputs)
            new.append(own)
        return self.residual.end(carry, inputs), new
