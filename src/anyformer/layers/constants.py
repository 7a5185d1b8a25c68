"""Buffers computed from a part's options: not saved, and recomputed when weights are loaded."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn


def register_constant(module: nn.Module, name: str, compute: Callable[[], Tensor]) -> None:
    """Register a buffer outside the state dict, recomputed after ``to_empty`` and loading.

    Args:
        module: the owner of the buffer.
        name: of the buffer.
        compute: returns the buffer, from options only; picklable (for instance a ``functools.partial`` of a function).
    """
    with torch.device("cpu"):
        value = compute()
    module.register_buffer(name, value.to(torch.get_default_device()), persistent=False)
    module.register_load_state_dict_pre_hook(partial(_make_again, name, compute))


@torch.no_grad()
def _make_again(name: str, compute: Callable[[], Tensor], module: nn.Module, *_: Any) -> None:
    buffer = getattr(module, name)
    if not buffer.is_meta:
        with torch.device("cpu"):
            buffer.copy_(compute())
