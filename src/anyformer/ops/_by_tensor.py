"""What is remembered of tensors."""

from __future__ import annotations

import weakref
from typing import Generic, TypeVar

from torch import Tensor

V = TypeVar("V")


class ByTensor(Generic[V]):
    """Values by tensor, as Python knows it, for as long as it lives.

    PyTorch's WeakTensorKeyDictionary at a fifth of its cost, which every layer pays for every token: it can be asked
    for a tensor that one has, but not for its tensors.
    """

    def __init__(self) -> None:
        self._entries: dict[int, tuple[weakref.ref[Tensor], V]] = {}

    def put(self, tensor: Tensor, value: V) -> V:
        """Remember ``value``, in the place of an earlier one."""
        key, entries = id(tensor), self._entries
        entries[key] = (weakref.ref(tensor, lambda _: entries.pop(key, None)), value)
        return value

    def get(self, tensor: Tensor) -> V | None:
        """What was put, or None."""
        entry = self._entries.get(id(tensor))
        return entry[1] if entry is not None and entry[0]() is tensor else None

    def pop(self, tensor: Tensor) -> V | None:
        """What was put, or None, and forget it."""
        entry = self._entries.pop(id(tensor), None)
        return entry[1] if entry is not None and entry[0]() is tensor else None
