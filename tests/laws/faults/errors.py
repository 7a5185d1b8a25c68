"""Faults of errors."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from anyformer.inputs import Layout
from anyformer.laws.faults import Sound, breaks


@breaks("errors")
class AnyWidth(Sound):
    """Takes what it is given instead of checking."""

    def _check(self, x: Tensor, *args: Any, **kwargs: Any) -> None:
        pass


@breaks("errors")
class TakesAnySide(Sound):
    """Takes side inputs that it does not know."""

    def _layout(self, x: Tensor, mask: Tensor | None, *_: Any, **__: Any) -> Layout:
        return Layout.of(x, mask)
