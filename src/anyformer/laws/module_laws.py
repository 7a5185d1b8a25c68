"""The laws about what PyTorch does with a module: write, build, convert, compile and differentiate it."""

from __future__ import annotations

import copy
import io
import pickle
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from anyformer.contract import Mixer
from anyformer.laws.case import Case, LawBroken, Sample
from anyformer.laws.measures import (
    close,
    close_in_bfloat16,
    gradient_of,
    limit,
    weights_for,
)
from anyformer.ops import use_definition
from anyformer.state import leaves

LENGTH = 19


@torch.no_grad()
def persistence(case: Case) -> bool:
    """Weights and states survive being written, read and copied, bit for bit."""
    mixer = case.mixer(torch.float32)
    for name, p in mixer.named_parameters():
        if p.is_complex():
            raise LawBroken(f"parameter {name} is complex; store real pairs")
    sample = case.sample(mixer, 2, limit(mixer, LENGTH), dtype=torch.float32)
    y = sample.forward(mixer)
    tensors = {k: v.clone().contiguous() for k, v in mixer.state_dict().items()}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(99)
        fresh = case.make().to(case.device).eval()
    fresh.load_state_dict(load_tensors(save_tensors(tensors)))
    close("output of reloaded weights", sample.forward(fresh), y, 0.0)
    close("output of a deep copy", sample.forward(copy.deepcopy(mixer)), y, 0.0)
    if not mixer.info.causal:
        return True
    half = sample.x.shape[1] // 2
    _, state = sample.times(0, half).stream(mixer, sample.start(mixer))
    rest = sample.times(half, sample.x.shape[1])
    expected, _ = rest.stream(mixer, state)
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    got, _ = rest.stream(fresh, torch.load(file, weights_only=True))
    close("streaming on from a saved state", got, expected, 0.0)
    return True


def compilation(case: Case) -> bool:
    """``torch.compile(fullgraph=True)`` gives what eager gives."""
    mixer = case.mixer(torch.float32)
    sample = case.sample(mixer, 2, limit(mixer, LENGTH), dtype=torch.float32)
    torch._dynamo.reset()
    try:
        compiled: Any = torch.compile(mixer, fullgraph=True, backend="aot_eager", dynamic=False)
        close("compiled output", sample.forward(compiled), sample.forward(mixer), 1e-5)
    finally:
        torch._dynamo.reset()
    return True


def checkpointing(case: Case) -> bool:
    """Under ``torch.utils.checkpoint`` (not reentrant) outputs and gradients are the same, in training."""
    for dtype, tolerance in (
        (torch.float64, 1e-9),
        (torch.float32, 1e-5),
    ):  # ops have paths of their own for each
        _checkpointed(case, dtype, tolerance)
    return True


def _checkpointed(case: Case, dtype: torch.dtype, tolerance: float) -> None:
    mixer = case.mixer(dtype, train=True)
    sample = case.sample(mixer, 2, limit(mixer, LENGTH), dtype=dtype)
    found = []
    for run in (lambda f, x: f(x), lambda f, x: checkpoint(f, x, use_reentrant=False)):
        mixer.zero_grad(set_to_none=True)
        torch.manual_seed(0)  # what training draws is drawn again
        x = sample.x.clone().requires_grad_()
        y = run(lambda x: sample.with_x(x).forward(mixer), x)
        (y * weights_for(y)).sum().backward()
        found.append({"output": y, "gradient of x": gradient_of(x)})
        found[-1] |= {f"gradient of {n}": gradient_of(p) for n, p in mixer.named_parameters()}
    for what, expected in found[0].items():
        close(f"{what} under a checkpoint", found[1][what], expected, tolerance)


@torch.no_grad()
def construction(case: Case) -> bool:
    """Built on the meta device, emptied onto its own and loaded, it is the original; and so it is behind a pickle."""
    mixer = case.mixer(torch.float32)
    sample = case.sample(mixer, 2, limit(mixer, LENGTH), dtype=torch.float32)
    with torch.device("meta"):
        built = case.make()
    built = built.to_empty(device=case.device).eval()
    for tensor in (*built.parameters(), *built.buffers()):  # whatever was in that memory
        tensor.fill_(torch.nan if tensor.is_floating_point() else 1)
    built.load_state_dict(mixer.state_dict())
    ways = {"built on the meta device and loaded": built, "read from a pickle": _pickled(mixer)}
    for how, other in ways.items():
        close(f"output of the mixer {how}", sample.forward(other), sample.forward(mixer), 0.0)
        if mixer.info.causal:
            y, _ = sample.stream(other, sample.start(other))
            close(f"stream of the mixer {how}", y, sample.stream(mixer, sample.start(mixer))[0], 0.0)
    return True


def _pickled(mixer: Mixer) -> Mixer:
    try:
        other: Mixer = pickle.loads(pickle.dumps(mixer))
    except Exception as error:
        raise LawBroken(f"the mixer cannot be pickled: {error}") from error
    return other


@torch.no_grad()
def precision(case: Case) -> bool:
    """bfloat16 by autocast, conversion and default, gives its accuracy and dtype, streamed too; float64 stays; and
    float16 does not overflow on the way to what float32 says fits."""
    mixer = case.mixer(torch.float32, randomize=False)
    sample = case.sample(mixer, 2, limit(mixer, LENGTH), dtype=torch.float32)
    y = sample.forward(mixer)
    with torch.autocast(case.device, torch.bfloat16):
        for given in (
            sample,
            sample.cast(torch.bfloat16),
        ):  # as a layer behind a norm, or behind a matrix, gets it
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
        # weights that are drawn in bfloat16 lie on a grid, on which more choices are almost ties
        _in_bfloat16("bfloat16 by default", by_default, sample, expected, 0.15)
    _stays_float64(case)
    fits_in_float16(case)
    return True


@torch.enable_grad()
def _trains_under_autocast(case: Case) -> None:
    """A backward from under autocast gives every parameter that gets a gradient one of its own dtype, finite."""
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


def _stream_halves(mixer: Mixer, sample: Sample) -> Tensor:
    T = sample.x.shape[1]
    first, state = sample.times(0, T // 2).stream(mixer, sample.start(mixer))
    return torch.cat((first, sample.times(T // 2, T).stream(mixer, state)[0]), 1)


def _in_bfloat16(how: str, mixer: Mixer, sample: Sample, expected: Tensor, tolerance: float = 0.1) -> None:
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
    """From inputs ten and more times as large as usual: what float32 gives, where float16 holds it, is finite."""
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
            raise LawBroken(f"in float16, x {size} times a normal: overflows where float32 gives what fits")


def _stays_float64(case: Case) -> None:
    """Slopes over steps of two sizes, both far below what float32 can tell, agree."""
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


REFUSALS = ("forward", "jvp", "tangent", "functorch", "differentiat", "derivative")
"""Words of which a refusal to differentiate in another way than ``backward`` has one."""


def transforms(case: Case) -> bool:
    """Tangents by ``torch.func.jvp`` and gradients of gradients are right or refused, never wrong in silence."""
    mixer = case.mixer()
    sample = case.sample(mixer, 2, limit(mixer, 9))
    weights = {"x": sample.x, **dict(mixer.named_parameters())}
    names, values = list(weights), [w.detach() for w in weights.values()]
    tangents = [weights_for(v) for v in values]

    def run(*values: Tensor) -> Tensor:
        given = dict(zip(names, values, strict=True))
        x = given.pop("x")
        return torch.func.functional_call(
            mixer, given, (x,), {"context": sample.context, "call": sample.call()}
        )

    leaf = [v.clone().requires_grad_() for v in values]
    y = run(*leaf)
    w = weights_for(y)
    grads = torch.autograd.grad((y * w).sum(), leaf, allow_unused=True, materialize_grads=True)
    expected = torch.stack([(g * t).sum() for g, t in zip(grads, tangents, strict=True)]).sum()
    tangent = _or_refused(lambda: torch.func.jvp(run, tuple(values), tuple(tangents))[1])
    if tangent is not None:
        close("tangent of the output, times weights, against backward", (tangent * w).sum(), expected, 1e-8)
    _gradients_of_gradients(run, values, tangents, w)
    return True


def _gradients_of_gradients(
    run: Callable[..., Tensor], values: list[Tensor], tangents: list[Tensor], w: Tensor
) -> None:
    """The slope of the gradient along a direction is that of the definition, which is made of PyTorch's operations."""

    def slope() -> Tensor:
        leaf = [v.clone().requires_grad_() for v in values]
        y = run(*leaf)
        grads = torch.autograd.grad((y * w).sum(), leaf, create_graph=True, allow_unused=True)
        along = [(g * t).sum() for g, t in zip(grads, tangents, strict=True) if g is not None]
        total = torch.stack(along).sum()
        if not total.requires_grad:
            return torch.zeros_like(total)
        again = torch.autograd.grad(total, leaf, allow_unused=True, materialize_grads=True)
        return torch.stack([(g * t).sum() for g, t in zip(again, tangents, strict=True)]).sum()

    found = _or_refused(slope)
    if found is None:
        return
    with use_definition():
        close("gradient of the gradient against the definition's", found, slope(), 1e-6)


def _or_refused(run: Callable[[], Tensor]) -> Tensor | None:
    """``None`` where a clear error says that it cannot be had."""
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*has no second derivative")  # an error of PyTorch's follows
            return run()
    except (RuntimeError, NotImplementedError, ValueError) as error:
        if not any(word in str(error) for word in REFUSALS):
            raise
        return None
