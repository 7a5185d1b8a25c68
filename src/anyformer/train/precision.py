"""The precision of training: bfloat16 where the hardware multiplies matrices of it, float32 elsewhere."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch

from anyformer.machine import has_bfloat16_tiles

Wanted = Literal["auto", "float32", "bfloat16"]


@dataclass(frozen=True)
class Precision:
    """The precision of training steps, and the reason for it."""

    name: Literal["float32", "bfloat16"]
    reason: str

    @property
    def autocast(self) -> bool:
        """True if matrix products run in bfloat16; parameters, sums and the optimiser stay in float32."""
        return self.name == "bfloat16"


def choose_precision(wanted: Wanted, device: torch.device) -> Precision:
    """Choose the precision of training steps on a device."""
    if wanted != "auto":
        return Precision(wanted, "as asked")
    if device.type == "cuda":
        if torch.cuda.is_bf16_supported(including_emulation=False):
            return Precision("bfloat16", "this GPU multiplies matrices of it")
        return Precision("float32", "this GPU does not multiply matrices of bfloat16")
    if device.type == "cpu" and has_bfloat16_tiles():
        return Precision("bfloat16", "this CPU has matrix units for it (AMX)")
    what = "this CPU has no matrix units for bfloat16 (AMX)" if device.type == "cpu" else f"on {device.type}"
    return Precision("float32", what)
