"""Caches of past tokens, for mixers that look at single tokens again.

A cache is a dict of tensors with time axis 2, e.g. keys (B, G, S, K), and ``stored`` (B,) int64: how many of a sample's
last slots hold a token; the slots before them are empty. Tokens are stored in order and without gaps, so that the
number of the last token gives those of all others.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from anyformer.by_tensor import ByTensor
from anyformer.contract import Inputs

Cache = dict[str, Tensor]

SPARE = 64
"""Least number of spare slots after a cache that is copied to grow; an eighth of its length if that is more."""

# By cached tensor, the longer buffer that it is a view of, and the end of the view in it. Popping the entry gives the
# right to write after the view, once: continuing the same state a second time makes a copy.
_BUFFERS = ByTensor[tuple[Tensor, int]]()

# By ``stored``: True where every slot of its cache is known to hold a token, without reading the tensor.
_FULL = ByTensor[bool]()


def empty_cache(
    shape: tuple[int, int, int], device: torch.device, dtype: torch.dtype, *, positions: bool = False
) -> Cache:
    """Return a cache of keys and values without tokens; shape is (batch, heads, width of a head).

    With ``positions`` it also has ``position`` (B, 1, S, 1), in float32, or float64 like the keys.
    """
    B, heads, width = shape
    keys = torch.zeros(B, heads, 0, width, device=device, dtype=dtype)
    cache = {"k": keys, "v": keys, "stored": torch.zeros(B, dtype=torch.int64, device=device)}
    if positions:
        number = torch.float64 if dtype == torch.float64 else torch.float32
        cache["position"] = torch.zeros(B, 1, 0, 1, device=device, dtype=number)
    return cache


def slots(inputs: Inputs) -> Tensor:
    """Return index + 1 of the tokens of this call, 0 where masked: (B, 1, T, 1) int64."""
    return inputs.zero(inputs.index + 1)[:, None, :, None]


def append(past: Cache, new: Cache, inputs: Inputs, limit: int | None = None) -> tuple[Cache, Cache]:
    """Append the tokens of a call to the past ones. ``past`` stays valid.

    Args:
        past: the cache that an earlier call kept.
        new: the same tensors of this call's tokens, without ``stored``.
        inputs: of this call.
        limit: the most latest tokens to keep of each sample, None = all.

    Returns:
        the cache that this call's queries see, past and new, and the cache to keep.
    """
    if inputs.mask is not None:
        return _append_ragged(past, new, inputs, limit)
    T = inputs.index.shape[1]
    stored = past["stored"] + T
    both, kept = {"stored": stored}, {"stored": stored if limit is None else stored.clamp_max(limit)}
    compiling = torch.compiler.is_compiling()
    full = not compiling and bool(_FULL.get(past["stored"]))
    in_place = T <= SPARE and not compiling and not torch.is_grad_enabled()
    for name, tokens in new.items():
        old = past[name]
        if old.shape[2] == 0 and old.dtype == tokens.dtype:
            t, buffer, full = tokens, None, not compiling
        elif in_place and old.dtype == tokens.dtype:
            t, buffer = _extend(old, tokens)
        else:
            t, buffer = torch.cat([old, tokens], 2), None
        both[name] = t
        kept[name] = t if limit is None else _last(t, limit)
        if buffer is not None:
            _BUFFERS.put(kept[name], buffer)
    if full:
        for known in {id(t): t for t in (stored, kept["stored"])}.values():
            _FULL.put(known, True)
    return both, kept


def _append_ragged(past: Cache, new: Cache, inputs: Inputs, limit: int | None) -> tuple[Cache, Cache]:
    """Append with masked tokens moved to the front, so that the real ones come last."""
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
    """Return the last ``count`` slots, as a view unless that would keep much more memory alive."""
    size = t.shape[2]
    if size <= count:
        return t
    last = t[:, :, size - count :]
    return last if size <= 2 * count + SPARE else last.clone()


def _extend(past: Tensor, new: Tensor) -> tuple[Tensor, tuple[Tensor, int]]:
    """Return ``past`` and ``new`` joined, in place if the buffer has spare slots, with the buffer and the end in it."""
    n, T = past.shape[2], new.shape[2]
    buffer, end = _BUFFERS.pop(past) or (None, 0)
    if (
        buffer is None
        or buffer.shape[2] < end + T
        or buffer.is_inference() != torch.is_inference_mode_enabled()
    ):
        B, G, _, K = past.shape
        buffer, end = past.new_empty(B, G, n + T + max(SPARE, n // 8), K), n
        buffer[:, :, :n] = past
    buffer.narrow(2, end, T).copy_(new)
    return buffer.narrow(2, end - n, n + T), (buffer, end + T)


def key_index(keys: Cache, inputs: Inputs) -> Tensor:
    """Return the index of the token in each slot of the first result of :func:`append`, -1 = empty: (B, S) int64."""
    S, last = keys["k"].shape[2], inputs.index[:, :1] + inputs.lengths[:, None] - 1
    age = torch.arange(S - 1, -1, -1, device=last.device)
    return torch.where(age < keys["stored"][:, None], last - age, -1)


def visibility(
    keys: Cache, inputs: Inputs, window: int | None = None, *, always: bool = False
) -> dict[str, Any]:
    """Return arguments of attention by which a query sees stored keys up to itself, the last ``window`` of them.

    ``keys`` is the first result of :func:`append`. With ``always`` the argument is the mask ``visible``, even where
    ``causal`` would do.
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
    """Return True if every slot is known to hold a token; asking a device other than the CPU would block."""
    if torch.compiler.is_compiling():
        return False
    if _FULL.get(stored):
        return True
    if stored.device.type != "cpu" or stored.numel() == 0 or int(stored.min()) < size:
        return False
    return _FULL.put(stored, True)
