"""Samples as a model reads them, with what is asked of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from anyformer.questions import IGNORED, Target
from anyformer.schema import Stream, Values


@dataclass(frozen=True)
class Batch:
    """A model's inputs and their targets.

    Attributes:
        inputs: ``(B, T)`` int64 tokens, ``(B, T, F)`` float32 numbers, or fields by name
            (:data:`anyformer.schema.Values`).
        targets: in the form that the task's objective states.
        mask: ``(B, T)`` bool, True at real elements, or None if all are real.
        at: ``(B, N)`` int64, the elements whose outputs are asked, if not those of all; targets are ``(B, N)`` then.
        shift, scale: float64, of targets that are normalised numbers: ``targets * scale + shift`` is in the user's
            units. (Large numbers lose their last digits in float32.)
        difference: of forecasts, see :class:`anyformer.questions.Target`.
        source: the sequence that the inputs continue, such as a sentence to be translated.
        side: side inputs (:class:`anyformer.info.SideInput`) by name, for models with mixers that take them.
        origin: ``(B,)`` int64, of forecasts, the step of the task's series at which the horizon begins; for references.
        sizes: ``(B, T)`` int64, the bytes of a text that each target stands for, if it is a piece of one.
        excluded: ``(B, N, L)`` int64, classes that are no answers at the elements ``at``, -1 for none.
        elements: ``(N, 2)`` int64, the sample and the element of each of N targets, where they are of elements and not
            of samples; ``len(batch)`` and slices are then of targets, and the inputs stay whole.
    """

    inputs: Tensor | Values
    targets: Tensor
    mask: Tensor | None = None
    shift: Tensor | None = None
    scale: Tensor | None = None
    difference: Tensor | None = field(default=None, kw_only=True)
    origin: Tensor | None = field(default=None, kw_only=True)
    sizes: Tensor | None = field(default=None, kw_only=True)
    source: Stream | None = field(default=None, kw_only=True)
    side: Mapping[str, Tensor] = field(default_factory=dict, kw_only=True)
    at: Tensor | None = field(default=None, kw_only=True)
    elements: Tensor | None = field(default=None, kw_only=True)
    excluded: Tensor | None = field(default=None, kw_only=True)

    @property
    def x(self) -> Tensor:
        """The inputs, if they are one tensor."""
        assert isinstance(self.inputs, Tensor), f"the inputs are the fields {', '.join(self.inputs)}"
        return self.inputs

    def __len__(self) -> int:
        return self.targets.shape[0]

    def __getitem__(self, samples: slice) -> Batch:
        whole = ("inputs", "mask", "source", "side") if self.elements is not None else ()
        return self._map(lambda value: value[samples], whole)

    def to(self, device: torch.device | str) -> Batch:
        """Return the batch on another device."""
        return self._map(lambda value: value.to(device))

    def _map(self, function: Callable[[Tensor], Tensor], but: Sequence[str] = ()) -> Batch:
        """Return the batch with a function applied to each tensor, those of the fields ``but`` left as they are."""
        found: dict[str, Any] = {
            name: value.map(function) if isinstance(value, Stream) else tree_map(function, value)
            for name, value in vars(self).items()
            if value is not None and name not in but
        }
        return Batch(**{**{name: getattr(self, name) for name in but}, **found})

    @property
    def asked(self) -> Tensor | None:
        """True at elements whose class is asked for, ``(B, T)``; None if targets are one a sample, or numbers."""
        classes = self.targets.dim() == 2 and not self.targets.is_floating_point()
        return self.targets != IGNORED if classes else None

    def allowed(self, answers: Tensor) -> Tensor:
        """Return answers ``(B, N, C)`` for metrics with a score of minus infinity for the classes that are excluded."""
        if self.excluded is None:
            return answers
        last = answers.shape[-1]  # a further class, which takes those that are none
        places = torch.where(self.excluded < 0, last, self.excluded)
        further = torch.cat([answers, torch.zeros_like(answers[..., :1])], -1)
        return further.scatter_(-1, places, -torch.inf)[..., :-1]

    @property
    def target(self) -> Target:
        """The targets, for metrics."""
        return Target(self.targets, self.shift, self.scale, self.difference, self.sizes)

    def in_units(self, outputs: Tensor) -> np.ndarray:
        """Return outputs in the user's units, float64, in the targets' shape, or in theirs if they are quantiles.

        Quantiles have one axis more than the targets, the last.
        """
        assert self.shift is not None and self.scale is not None
        shift, scale, shaped = self.shift.cpu(), self.scale.cpu(), outputs.detach().cpu().double()
        if shaped.dim() > self.targets.dim():
            shift, scale = shift[..., None], scale[..., None]
        else:
            shaped = shaped.reshape(self.targets.shape)
        found: np.ndarray = (shaped * scale + shift).numpy()
        return found
