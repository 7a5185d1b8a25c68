"""What the laws measure with."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from anyformer.contract import GROWTHS, Mixer
from anyformer.laws.case import LawBroken, Sample

LENGTH = 19
"""Tokens of a sample where nothing asks for more: no multiple of a chunk."""

EXPONENTS = {"none": 0.0, "constant": 0.05, "log n": 0.6, "n": 1.1, "n log n": 1.3, "n^1.5": 1.6, "n^2": 2.1}
"""The largest exponent that passes for each growth."""
assert set(EXPONENTS) == set(GROWTHS)


def close(what: str, got: Tensor, expected: Tensor, tolerance: float = 1e-9) -> None:
    """``LawBroken`` unless ``got`` is ``expected`` to ``tolerance``, relative to the largest expected value (or 1)."""
    if got.shape != expected.shape:
        raise LawBroken(f"{what}: shape {tuple(got.shape)} instead of {tuple(expected.shape)}")
    if got.numel() == 0:
        return
    got, expected = (t.detach().to("cpu", torch.float64) for t in (got, expected))
    if not bool(got.isfinite().all()):
        raise LawBroken(f"{what}: not finite")
    away = float((got - expected).abs().max()) / max(1.0, float(expected.abs().max()))
    if not away <= tolerance:
        raise LawBroken(f"{what}: off by {away:.1e}, allowed {tolerance:.0e}")


def limit(mixer: Mixer, length: int) -> int:
    """``length``, or the longest that the mixer takes."""
    longest = mixer.info.max_length
    return length if longest is None else min(length, longest)


def ragged_mask(batch: int, length: int) -> Tensor:
    """Which tokens are real, (B, T): scattered ones, and a first sample that joins late."""
    mask = torch.rand(batch, length, generator=torch.Generator().manual_seed(3)) > 0.4
    mask[0, : length // 2] = False
    return mask


def weights_for(y: Tensor) -> Tensor:
    """Fixed random weights, so that a sum over y tells its elements apart."""
    return torch.randn(y.shape, generator=torch.Generator().manual_seed(5), dtype=torch.float64).to(y)


def gradient_of(t: Tensor) -> Tensor:
    """The gradient that t got, zeros where it got none."""
    return torch.zeros_like(t) if t.grad is None else t.grad.detach().clone()


def every_parameter_learns(module: nn.Module) -> None:
    """``LawBroken`` unless every parameter got a finite gradient that is not zero."""
    for name, p in module.named_parameters():
        if p.grad is None or not bool((p.grad != 0).any()):
            raise LawBroken(f"parameter {name} gets no gradient")
        if not bool(p.grad.isfinite().all()):
            raise LawBroken(f"parameter {name} gets a gradient that is not finite")


def check_exponent(
    what: str, declared: str, lengths: list[int], figures: Sequence[float], settled: bool = False
) -> None:
    """The growth over the last doubling is not above what is declared, and for a state not below it either."""
    if figures[-1] == 0 or figures[-2] == 0:
        return
    exponent = math.log(figures[-1] / figures[-2]) / math.log(lengths[-1] / lengths[-2])
    if exponent > EXPONENTS[declared] + 0.02:
        raise LawBroken(
            f"{what} grow like n^{exponent:.2f} from {lengths[-2]} to {lengths[-1]}, declared {declared!r}"
        )
    if settled and declared in ("n", "n^2") and exponent < EXPONENTS[declared] - 0.4:
        raise LawBroken(f"{what} grow like n^{exponent:.2f} only, declared {declared!r}")


def saved_bytes(mixer: Mixer, sample: Sample) -> int:
    """Bytes that a forward keeps for its backward."""
    held: dict[int, torch.UntypedStorage] = {}

    def pack(t: Tensor) -> Tensor:
        storage = t.untyped_storage()
        held[storage.data_ptr()] = storage  # kept alive, or its address would be given to another
        return t

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        y = sample.with_x(sample.x.clone().requires_grad_()).forward(mixer)
    del y
    return sum(storage.nbytes() for storage in held.values())


def expect_error(what: str, word: str, call: Any, also: str = "") -> None:
    """``LawBroken`` unless ``call`` raises a ``ValueError`` that names ``word`` and ``also``."""
    try:
        call()
    except ValueError as error:
        if word not in str(error) or also not in str(error):
            raise LawBroken(f"{what}: the message does not name {word.strip()!r} {also}: {error}") from None
    except Exception as error:
        raise LawBroken(f"{what}: raised {type(error).__name__} instead of ValueError: {error}") from None
    else:
        raise LawBroken(f"{what}: no error")


def close_in_bfloat16(what: str, got: Tensor, expected: Tensor, tolerance: float = 0.1) -> None:
    """Within bfloat16's accuracy in the mean: single elements may fall on the other side of a discrete choice."""
    got, expected = got.double(), expected.double()
    if not bool(got.isfinite().all()):
        raise LawBroken(f"{what}: not finite")
    away = float((got - expected).square().mean().sqrt() / expected.square().mean().sqrt().clamp_min(1e-6))
    if away > tolerance:
        raise LawBroken(f"{what}: off by {away:.1%} of its size, allowed {tolerance:.0%}")
