"""Laws of numerics: the fast form equals the definition, every parameter gets a gradient, and dtypes are kept."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import torch
from torch import Tensor

from anyformer.contract import Mixer
from anyformer.laws.case import Case, LawBroken, SampleInputs
from anyformer.laws.measures import (
    LENGTH,
    close,
    close_in_bfloat16,
    every_parameter_learns,
    gradient_of,
    limit,
    weights_for,
)
from anyformer.laws.registry import register_law
from anyformer.ops import use_definition
from anyformer.state import leaves


@register_law("definition")
def definition(case: Case) -> bool:
    """The fast form equals the definition: outputs, every gradient and the final state."""
    for variant in case.variants():
        _compare_with_definition(variant, torch.float64, 67, 1e-9, 1e-7)
    _compare_with_definition(case, torch.float32, LENGTH, 2e-4, 2e-3)
    _compare_with_definition(case, torch.bfloat16, LENGTH, 0.1, None)
    return True


def _compare_with_definition(
    case: Case, dtype: torch.dtype, length: int, tolerance: float, gradient_tolerance: float | None
) -> None:
    mixer = case.mixer(dtype)
    sample = case.sample(mixer, 2, limit(mixer, length), dtype=dtype)
    fast = _everything(mixer, sample, gradient_tolerance is not None)
    with use_definition():
        slow = _everything(mixer, sample, gradient_tolerance is not None)
    name = str(dtype).removeprefix("torch.")
    for what, expected in slow.items():
        allowed = gradient_tolerance if what.startswith("gradient") else tolerance
        assert allowed is not None
        close(f"{what} in {name}", fast[what], expected, allowed)


def _everything(mixer: Mixer, sample: SampleInputs, gradients: bool) -> dict[str, Tensor]:
    """Return the output, the gradients of input and parameters, and the final state, by name."""
    mixer.zero_grad(set_to_none=True)
    x = sample.x.clone().requires_grad_(gradients)
    y = sample.with_x(x).forward(mixer)
    found = {"output": y.detach()}
    if gradients:
        (y * weights_for(y)).sum().backward()
        found["gradient of x"] = gradient_of(x)
        found |= {
            f"gradient of {n}": gradient_of(p) for n, p in mixer.named_parameters() if p.grad is not None
        }
    if mixer.info.causal:
        with torch.no_grad():
            _, state = sample.stream(mixer, sample.start(mixer))
        found |= {f"final state, tensor {i}": t for i, t in enumerate(leaves(state))}
    return found


@register_law("gradient")
def gradient(case: Case) -> bool:
    """In training mode, at random parameters, every parameter gets a gradient that is finite and not zero."""
    mixer = case.mixer(train=True)
    if not list(mixer.parameters()):
        return False
    sample = replace(case, side=True).sample(mixer, 2, limit(mixer, 37))
    call = sample.call()
    y = sample.forward(mixer, call=call)
    torch.stack([(y * weights_for(y)).sum(), *call.losses.values()]).sum().backward()
    every_parameter_learns(mixer)
    return True


@register_law("mixing")
@torch.no_grad()
def mixing(case: Case) -> bool:
    """If a mixer has a mixing matrix, its output is finish(matrix @ values)."""
    mixer = case.mixer()
    sample = case.sample(mixer, 2, limit(mixer, LENGTH))
    found = mixer.mixing(sample.x, context=sample.context, call=sample.call())
    if found is None:
        return False
    close("finish(matrix @ values)", found.finish(found.matrix @ found.values), sample.forward(mixer))
    return True


@register_law("precision")
@torch.no_grad()
def precision(case: Case) -> bool:
    """bfloat16 (by autocast, by conversion and as default dtype) has its accuracy and dtype, streamed too; float64 is
    not narrowed on the way; and float16 does not overflow where the result fits."""
    mixer = case.mixer(torch.float32, randomize=False)
    sample = case.sample(mixer, 2, limit(mixer, LENGTH), dtype=torch.float32)
    y = sample.forward(mixer)
    with torch.autocast(case.device, torch.bfloat16):
        for given in (
            sample,
            sample.cast(torch.bfloat16),
        ):  # a norm gives float32 under autocast, a matrix product bfloat16
            what = f"under autocast, x in {str(given.x.dtype).removeprefix('torch.')}"
            close_in_bfloat16(f"output {what}", given.forward(mixer), y)
            if mixer.info.causal:
                close_in_bfloat16(f"stream {what}", _stream_halves(mixer, given), y)
    _trains_under_autocast(case)
    low = case.mixer(torch.bfloat16, randomize=False)
    _in_bfloat16("bfloat16", low, sample, y)
    with _default_dtype(torch.bfloat16):
        by_default = case.mixer(None, randomize=False)
        rounded = sample.cast(torch.bfloat16).cast(torch.float32)
        expected = rounded.forward(copy.deepcopy(by_default).float())
        # weights drawn in bfloat16 lie on a coarse grid, so that more discrete choices are almost ties
        _in_bfloat16("bfloat16 by default", by_default, sample, expected, 0.15)
    _stays_float64(case)
    fits_in_float16(case)
    return True


@torch.enable_grad()
def _trains_under_autocast(case: Case) -> None:
    """Check that gradients are finite after a forward pass under autocast, for inputs of both dtypes."""
    mixer = case.mixer(torch.float32, train=True)
    sample = case.sample(mixer, 2, limit(mixer, LENGTH), dtype=torch.float32)
    for dtype in (torch.float32, torch.bfloat16):
        mixer.zero_grad(set_to_none=True)
        x = sample.x.detach().to(dtype, copy=True).requires_grad_()
        with torch.autocast(case.device, torch.bfloat16):
            y = sample.cast(dtype).with_x(x).forward(mixer)
        if y.requires_grad:
            (y.float() * weights_for(y.float())).sum().backward()
        for name, p in (("x", x), *mixer.named_parameters()):
            if p.grad is not None and not bool(p.grad.isfinite().all()):
                raise LawBroken(f"gradient of {name} under autocast is not finite")


def _stream_halves(mixer: Mixer, sample: SampleInputs) -> Tensor:
    T = sample.x.shape[1]
    first, state = sample.times(0, T // 2).stream(mixer, sample.start(mixer))
    return torch.cat((first, sample.times(T // 2, T).stream(mixer, state)[0]), 1)


def _in_bfloat16(
    how: str, mixer: Mixer, sample: SampleInputs, expected: Tensor, tolerance: float = 0.1
) -> None:
    for name, p in mixer.named_parameters():
        if p.dtype != torch.bfloat16:
            raise LawBroken(f"parameter {name} of a mixer in {how} is {p.dtype}")
    sample = sample.cast(torch.bfloat16)
    runs: dict[str, Callable[[], Tensor]] = {"output": lambda: sample.forward(mixer)}
    if mixer.info.causal:
        runs["stream"] = lambda: _stream_halves(mixer, sample)
    for what, run in runs.items():
        got = run()
        if got.dtype != torch.bfloat16:
            raise LawBroken(f"{what} of a mixer in {how} is {got.dtype}")
        close_in_bfloat16(f"{what} in {how}", got, expected, tolerance)


@contextmanager
def _default_dtype(dtype: torch.dtype) -> Iterator[None]:
    was = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(was)


@torch.no_grad()
def fits_in_float16(case: Case) -> None:
    """Check that float16 gives finite outputs for large inputs wherever the output of float32 fits into float16."""
    half = case.mixer(torch.float16)
    if not all(bool(p.isfinite().all()) for p in half.parameters()):
        return
    whole = copy.deepcopy(half).float()
    sample = case.sample(half, 2, limit(half, LENGTH), dtype=torch.float16)
    for size in (10, 30, 100, 300):
        x = sample.x * size
        expected = sample.cast(torch.float32).with_x(x.float()).forward(whole)
        if not float(expected.abs().max()) < 3e4:
            return
        if not bool(sample.with_x(x).forward(half).isfinite().all()):
            raise LawBroken(f"in float16, at x of size {size}: overflows, though the result of float32 fits")


def _stays_float64(case: Case) -> None:
    """Check by finite differences, at two steps below the resolution of float32, that all is computed in float64."""
    mixer = case.mixer()
    sample = case.sample(mixer, 2, limit(mixer, 9))
    along = weights_for(sample.x)
    slopes = []
    for step in (1e-7, 3e-7):
        ahead, behind = (sample.with_x(sample.x + sign * step * along).forward(mixer) for sign in (1, -1))
        if ahead.dtype != torch.float64:
            raise LawBroken(f"a float64 mixer gives {ahead.dtype}")
        slopes.append((ahead - behind) / (2 * step))
    try:
        close("slope", slopes[0], slopes[1], 1e-3)
    except LawBroken as error:
        raise LawBroken(f"in float64 something is computed in a narrower dtype: {error}") from None
    if mixer.info.causal:
        y, state = sample.stream(mixer, sample.start(mixer))
        narrow = {str(t.dtype) for t in leaves(state) if t.is_floating_point()} - {"torch.float64"}
        if y.dtype != torch.float64 or narrow:
            raise LawBroken(f"a float64 mixer streams {y.dtype}, its state is in {', '.join(narrow)}")
