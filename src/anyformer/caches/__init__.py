"""What is kept of the past by mixers that look at single tokens again.

A cache is a dict of tensors whose time axis is 2, e.g. keys (B, G, S, K), and of ``stored`` (B,) int64: how many
places of each sample, counted from the last, hold a token. The places before them are empty. Tokens are stored in
order and none is left out, so that the number of the last token tells that of every other.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from anyformer.by_tensor import ByTensor
from anyformer.contract import Inputs

Cache = dict[str, Tensor]

ROOM = 64
"""Where a cache has to be copied, places for so many later tokens are made behind it, or an eighth of its length."""

# A tensor of a cache is a view of a longer one; here is that one, and where the view ends in it. Whoever takes the
# entry out may write behind the view. It is then gone, so that continuing the same state once more makes a copy.
_ROOMS = ByTensor[tuple[Tensor, int]]()

# Of ``stored``: that every place of its cache holds a token, where that is known without looking.
_FULL = ByTensor[bool]()


def slots(inputs: Inputs) -> Tensor:
    """(B, 1, T, 1) int64: index + 1 of the tokens of this call, 0 where masked."""
    return inputs.zero(inputs.index + 1)[:, None, :, None]


def append(past: Cache, new: Cache, inputs: Inputs, limit: int | None = None) -> tuple[Cache, Cache]:
    """Put the tokens of a call behind the past ones. ``past`` stays good.

    Args:
        past: what an earlier call kept.
        new: the same tensors of this call's tokens, without ``stored``.
        inputs: this call's.
        limit: the number of latest tokens to keep of each sample, ``None`` = all.

    Returns:
        what this call's queries may look at (past and new), and what to keep.
    """
    if inputs.mask is not None:
        return _append_ragged(past, new, inputs, limit)
    T = inputs.index.shape[1]
    stored = past["stored"] + T
    both, kept = {"stored": stored}, {"stored": stored if limit is None else stored.clamp_max(limit)}
    compiling = torch.compiler.is_compiling()
    full = not compiling and bool(_FULL.get(past["stored"]))
    in_place = T <= ROOM and not compiling and not torch.is_grad_enabled()
    for name, tokens in new.items():
        old = past[name]
        if old.shape[2] == 0 and old.dtype == tokens.dtype:
            t, room, full = tokens, None, not compiling
        elif in_place and old.dtype == tokens.dtype:
            t, room = _extend(old, tokens)
        else:
            t, room = torch.cat([old, tokens], 2), None
        both[name] = t
        kept[name] = t if limit is None else _last(t, limit)
        if room is not None:
            _ROOMS.put(kept[name], room)
    if full:
        for known in {id(t): t for t in (stored, kept["stored"])}.values():
            _FULL.put(known, True)
    return both, kept


def _append_ragged(past: Cache, new: Cache, inputs: Inputs, limit: int | None) -> tuple[Cache, Cache]:
    """Masked tokens go to the front, so that the latest real ones are the last."""
    stored, masked = past["stored"] + inputs.lengths, inputs.index.shape[1] - inputs.lengths
    longest = int(stored.max()) if stored.numel() else 0
    keep = longest if limit is None else min(limit, longest)
    both, kept = {"stored": stored}, {"stored": stored.clamp_max(keep)}
    for name, tokens in new.items():
        t = torch.cat([past[name], tokens], 2)
        S = t.shape[2]
        place = (torch.arange(S, device=t.device) - masked[:, None]) % max(S, 1)
        both[name] = t.gather(2, place[:, None, :, None].expand(-1, t.shape[1], -1, t.shape[3]))
        kept[name] = _last(both[name], keep)
    return both, kept


def _last(t: Tensor, count: int) -> Tensor:
    """The last ``count`` places, as a view unless it would hold much more memory than it shows."""
    size = t.shape[2]
    if size <= count:
        return t
    last = t[:, :, size - count :]
    return last if size <= 2 * count + ROOM else last.clone()


def _extend(past: Tensor, new: Tensor) -> tuple[Tensor, tuple[Tensor, int]]:
    """``past`` and ``new`` in one, in place behind ``past`` where there is room; and the room that is left."""
    n, T = past.shape[2], new.shape[2]
    room, end = _ROOMS.pop(past) or (None, 0)
    if room is None or room.shape[2] < end + T or room.is_inference() != torch.is_inference_mode_enabled():
        B, G, _, K = past.shape
        room, end = past.new_empty(B, G, n + T + max(ROOM, n // 8), K), n
        room[:, :, :n] = past
    room.narrow(2, end, T).copy_(new)
    return room.narrow(2, end - n, n + T), (room, end + T)


def key_index(keys: Cache, inputs: Inputs) -> Tensor:
    """(B, S) int64: the index of the token in each place of what ``append`` gives to look at, -1 where it is empty."""
    S, last = keys["k"].shape[2], inputs.index[:, :1] + inputs.lengths[:, None] - 1
    age = torch.arange(S - 1, -1, -1, device=last.device)
    return torch.where(age < keys["stored"][:, None], last - age, -1)


def sight(keys: Cache, inputs: Inputs, window: int | None = None, *, always: bool = False) -> dict[str, Any]:
    """As arguments of attention: a query sees stored keys up to itself, the last ``window`` of them.

    ``keys`` is what :func:`append` gave to look at. With ``always`` the answer is a mask, ``visible``, even where
    ``causal`` would say as much.
    """
    T, S = inputs.index.shape[1], keys["k"].shape[2]
    if T == 0:
        return {}
    if not always and inputs.mask is None and (window is None or window >= S) and _is_full(keys["stored"], S):
        return {"causal": True}
    found = key_index(keys, inputs)[:, None, None, :]
    age = inputs.index[:, None, :, None] - found
    seen = (age >= 0) & (found >= 0)
    return {"visible": seen if window is None else seen & (age < window)}


def _is_full(stored: Tensor, size: int) -> bool:
    """Whether no place is empty; where asking would wait for a device, no."""
    if torch.compiler.is_compiling():
        return False
    if _FULL.get(stored):
        return True
    if stored.device.type != "cpu" or stored.numel() == 0 or int(stored.min()) < size:
        return False
    return _FULL.put(stored, True)
