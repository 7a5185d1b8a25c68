"""States are pytrees (dicts, lists, tuples) of tensors whose first axis is the batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

State = Any


def map_state(function: Callable[..., Tensor], state: State, *others: State) -> State:
    """Apply ``function`` to each tensor of ``state``, together with those in the same place of ``others``."""
    if isinstance(state, Tensor):
        return function(state, *others)
    if isinstance(state, dict):
        if any(o.keys() != state.keys() for o in others):
            raise ValueError(
                f"states must keep the same, got {', '.join(str(list(s)) for s in (state, *others))}"
            )
        return {k: map_state(function, v, *(o[k] for o in others)) for k, v in state.items()}
    if isinstance(state, (list, tuple)):
        parts = [map_state(function, v, *(o[i] for o in others)) for i, v in enumerate(state)]
        return parts if isinstance(state, list) else tuple(parts)
    raise ValueError(f"a state holds tensors in dicts, lists and tuples, got {type(state).__name__}")


def leaves(state: State) -> list[Tensor]:
    """Return all tensors of ``state``."""
    found: list[Tensor] = []
    map_state(lambda t: found.append(t) or t, state)  # type: ignore[func-returns-value]
    return found


def state_bytes(state: State) -> int:
    """Count the bytes of ``state``, over the whole batch."""
    return sum(t.numel() * t.element_size() for t in leaves(state))


def select_rows(state: State, rows: Tensor) -> State:
    """Select the state of samples ``rows`` (int64), in that order, to reorder beams, drop samples or repeat prompts."""
    return map_state(lambda t: t[rows], state)


def detach(state: State) -> State:
    """Detach the state from the autograd graph."""
    return map_state(Tensor.detach, state)


def where_rows(chosen: Tensor, yes: State, no: State) -> State:
    """Select the state ``yes`` for samples ``chosen`` (B,) bool, else ``no``.

    The shorter of two caches is padded in front; entries of only one of the states are zeros in the other.
    """

    def pick(a: Tensor, b: Tensor) -> Tensor:
        sizes = [max(m, n) for m, n in zip(a.shape, b.shape, strict=True)]
        return torch.where(chosen.reshape(-1, *(1,) * (a.dim() - 1)), _grow(a, sizes), _grow(b, sizes))

    return map_state(pick, _completed(yes, no), _completed(no, yes))


def _completed(state: State, other: State) -> State:
    """Return ``state`` with zeros where only ``other`` has an entry."""
    if isinstance(state, dict):
        every = {**state, **other}
        return {
            k: _completed(state[k], v) if k in state else map_state(torch.zeros_like, v)
            for k, v in every.items()
        }
    if isinstance(state, (list, tuple)):
        parts = [_completed(a, b) for a, b in zip(state, other, strict=True)]
        return parts if isinstance(state, list) else tuple(parts)
    return state


def _grow(t: Tensor, sizes: list[int]) -> Tensor:
    pad = [p for m, n in zip(reversed(t.shape), reversed(sizes), strict=True) for p in (n - m, 0)]
    return torch.nn.functional.pad(t, pad) if any(pad) else t
