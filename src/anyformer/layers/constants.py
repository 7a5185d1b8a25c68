"""Buffers that follow from a part's options: not saved, and made again when weights are loaded."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn


def register_constant(module: nn.Module, name: str, compute: Callable[[], Tensor]) -> None:
    """Register a buffer that is no part of the state dict, and is right again after ``to_empty`` and loading.

    Args:
        module: gets the buffer.
        name: of the buffer.
        compute: makes it, from options only; it must pickle (a ``functools.partial`` of a function, say).
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
