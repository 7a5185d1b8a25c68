"""A mapping keyed by the identity of tensors."""

from __future__ import annotations

import weakref
from typing import Generic, TypeVar

from torch import Tensor

V = TypeVar("V")


class ByTensor(Generic[V]):
    """A mapping with tensors as weak keys, by identity: an entry lives as long as its tensor.

    It costs a fifth of PyTorch's WeakTensorKeyDictionary, in look-ups of every layer for every token. Keys cannot be
    listed.
    """

    def __init__(self) -> None:
        self._entries: dict[int, tuple[weakref.ref[Tensor], V]] = {}

    def put(self, tensor: Tensor, value: V) -> V:
        """Store ``value`` for ``tensor``, replacing an earlier one."""
        key, entries = id(tensor), self._entries
        entries[key] = (weakref.ref(tensor, lambda _: entries.pop(key, None)), value)
        return value

    def get(self, tensor: Tensor) -> V | None:
        """Return the value of ``tensor``, or None."""
        entry = self._entries.get(id(tensor))
        return entry[1] if entry is not None and entry[0]() is tensor else None

    def pop(self, tensor: Tensor) -> V | None:
        """Remove and return the value of ``tensor``, or None."""
        entry = self._entries.pop(id(tensor), None)
        return entry[1] if entry is not None and entry[0]() is tensor else None
