"""The laws about what a mixer computes.

Each takes a case, raises :class:`LawBroken` where it is broken, and returns whether it applies.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor

from anyformer.contract import Call, Context, Mixer
from anyformer.laws.case import Case, LawBroken, Sample
from anyformer.laws.measures import (
    check_exponent,
    close,
    expect_error,
    gradient_of,
    limit,
    saved_bytes,
    weights_for,
)
from anyformer.ops import FlopCounter, use_definition
from anyformer.state import leaves, map_state, select_rows, state_bytes

LENGTH = 19


def definition(case: Case) -> bool:
    """The fast form is the definition: outputs, every gradient, final state."""
    _compare_with_definition(case, torch.float64, 67, 1e-9, 1e-7)
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


def _everything(mixer: Mixer, sample: Sample, gradients: bool) -> dict[str, Tensor]:
    """Output, gradients of the input and the parameters, and the final state."""
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


@torch.no_grad()
def reach(case: Case) -> bool:
    """Changes outside the declared reach change nothing. By perturbation: a leak through top-k has no gradient."""
    mixer = case.mixer()
    past, future = mixer.info.reach
    if past is None and future is None:
        return False
    T = limit(mixer, LENGTH + 5)
    for seed in range(3):
        sample = case.sample(mixer, 2, T, seed=seed)
        y = sample.forward(mixer)
        for t in (0, 1, T // 3, T // 2, T - 2):
            for side, outside in (
                ("later", slice(t + 1 + (future or 0), T)),
                ("earlier", slice(0, max(0, t - (past or 0)))),
            ):
                if (future if side == "later" else past) is None or len(range(*outside.indices(T))) == 0:
                    continue
                x = sample.x.clone()
                x[:, outside] = torch.randn_like(x[:, outside]) * 10.0 ** (seed - 1)
                changed = sample.with_x(x).forward(mixer)
                # not bitwise: FFT forms mix rounding errors over the whole length
                close(
                    f"output {t} after a change of {side} tokens (reach {mixer.info.reach})",
                    changed[:, t],
                    y[:, t],
                )
    return True


def streaming(case: Case) -> bool:
    """Any split of the sequence equals the whole, with ragged masks, gradients and a copied state."""
    mixer = case.mixer()
    if not mixer.info.causal:
        return False
    T = limit(mixer, 37)
    sample = case.sample(mixer, 3, T)
    splits = {
        "one by one": [1] * T,
        "in one piece": [T],
        "in mixed pieces": [2, 0, 1, 7, 1, T],
        "in two pieces": [T // 2, T],
    }
    masks = {"": None, " with ragged masks": _ragged_mask(3, T).to(sample.x.device)}
    for ragged, mask in masks.items():
        whole = (
            _each_alone(mixer, sample, mask) if mixer.info.grid else sample.forward(mixer, mask)
        ).detach()
        for how, sizes in splits.items():
            y, _ = _in_pieces(mixer, sample, sizes, mask)
            close(f"streamed {how}{ragged} against the whole", y.detach(), whole)
    _stream_gradient(mixer, sample)
    _stream_copied(mixer, sample)
    _stream_bytes(case, mixer)
    return True


@torch.no_grad()
def _each_alone(mixer: Mixer, sample: Sample, mask: Tensor | None) -> Tensor:
    """For grids, whose mask may have no holes: each sample's real tokens alone, at their places."""
    if mask is None:
        return sample.forward(mixer)
    y = torch.zeros_like(sample.x)
    for b in range(len(mask)):
        y[b, mask[b]] = sample.tokens(b, mask[b]).forward(mixer)[0]
    return y


def _ragged_mask(batch: int, length: int) -> Tensor:
    mask = torch.rand(batch, length, generator=torch.Generator().manual_seed(3)) > 0.4
    mask[0, : length // 2] = False  # a sample that joins late
    return mask


def _in_pieces(mixer: Mixer, sample: Sample, sizes: list[int], mask: Tensor | None) -> tuple[Tensor, Any]:
    state, out, start = sample.start(mixer), [], 0
    T = sample.x.shape[1]
    for size in sizes:
        stop = min(start + size, T)
        y, state = sample.times(start, stop).stream(
            mixer, state, None if mask is None else mask[:, start:stop]
        )
        if y.shape[1] != stop - start:
            raise LawBroken(f"streaming {stop - start} tokens gave {y.shape[1]} outputs")
        out.append(y)
        start = stop
    return torch.cat(out, 1), state


def _stream_gradient(mixer: Mixer, sample: Sample) -> None:
    T = sample.x.shape[1]
    found = []
    for sizes in (None, [T // 3, 1, T]):
        mixer.zero_grad(set_to_none=True)
        x = sample.x.clone().requires_grad_()
        given = sample.with_x(x)
        y = given.forward(mixer) if sizes is None else _in_pieces(mixer, given, sizes, None)[0]
        (y * weights_for(y)).sum().backward()
        found.append({"x": gradient_of(x), **{n: gradient_of(p) for n, p in mixer.named_parameters()}})
    for name, expected in found[0].items():
        close(f"gradient of {name} through the state", found[1][name], expected, 1e-8)


@torch.no_grad()
def _stream_copied(mixer: Mixer, sample: Sample) -> None:
    T = sample.x.shape[1]
    half = T // 2
    order = torch.tensor([2, 0, 0], device=sample.x.device)
    first, state = sample.times(0, half).stream(mixer, sample.start(mixer))
    rest = sample.times(half, T)
    y, _ = rest.stream(mixer, state)
    again, _ = rest.stream(mixer, copy.deepcopy(state))
    close("streaming on from a copied state", again, y, 0.0)
    moved, _ = rest.rows(order).stream(mixer, select_rows(state, order))
    close("streaming on from a reordered state", moved, y[order], 1e-9)
    empty, same = sample.times(0, 0).stream(mixer, state)
    if empty.shape[1] != 0:
        raise LawBroken(f"streaming no tokens gave {empty.shape[1]} outputs")
    y_same, _ = rest.stream(mixer, same)
    close("streaming on after no tokens", y_same, y, 0.0)


@torch.no_grad()
def _stream_bytes(case: Case, mixer: Mixer) -> None:
    sizes = []
    lengths = [64, 128, 256, 512]
    if mixer.info.max_length is not None:
        top = mixer.info.max_length
        lengths = [top // 8, top // 4, top // 2, top]
    for T in lengths:
        sample = case.sample(mixer, 1, T)
        _, state = sample.stream(mixer, sample.start(mixer))
        sizes.append(state_bytes(state["own"]))
    check_exponent("state bytes", mixer.info.state, lengths, sizes, settled=True)
    if mixer.info.state == "none" and sizes[-1]:
        raise LawBroken(f"state is declared 'none' but holds {sizes[-1]} bytes")


def padding(case: Case) -> bool:
    """Masked tokens change nothing, get zeros and no gradient; packed sequences are as if alone."""
    mixer = case.mixer()
    T = limit(mixer, LENGTH)
    sample = case.sample(mixer, 3, T)
    order = torch.arange(T, device=sample.x.device)
    lengths = torch.tensor([[T], [T // 2], [1]], device=sample.x.device)
    masks = {
        "right": order < lengths,
        "left": order >= T - lengths,
        "scattered": _ragged_mask(3, T).to(sample.x.device),
    }
    if mixer.info.grid:
        holes = masks.pop("scattered")
        expect_error("a mask with holes in a grid", "mask ", lambda: sample.forward(mixer, holes))
    for where, mask in masks.items():
        poisoned = sample.x.masked_fill(~mask[..., None], torch.nan).requires_grad_()
        y = sample.with_x(poisoned).forward(mixer, mask)
        if bool((y[~mask] != 0).any()):
            raise LawBroken(f"{where} padding: outputs at masked tokens are not zero")
        for b in range(3):
            if bool(mask[b].any()):
                alone = sample.tokens(b, mask[b]).forward(mixer)
                close(f"{where} padding against the sample alone", y[b][mask[b]], alone[0])
        y.square().sum().backward()
        assert poisoned.grad is not None
        if bool((poisoned.grad[~mask] != 0).any()):
            raise LawBroken(f"{where} padding: masked tokens get a gradient (or NaN)")
    _packed(mixer, case.sample(mixer, 2, T))
    return True


@torch.no_grad()
def _packed(mixer: Mixer, sample: Sample) -> None:
    T = sample.x.shape[1]
    ids = torch.zeros(2, T, dtype=torch.int64, device=sample.x.device)
    ids[0, : T // 3], ids[0, T // 3 : T - 2] = 1, 2
    ids[1, 1:] = 1
    y = sample.forward(mixer, ids)
    for b in range(2):
        for n in ids[b].unique().tolist():
            chosen = ids[b] == n
            if n == 0:
                if bool((y[b][chosen] != 0).any()):
                    raise LawBroken("packed: outputs at padding are not zero")
            else:
                close("packed against alone", y[b][chosen], sample.tokens(b, chosen).forward(mixer)[0])


def length(case: Case) -> bool:
    """Any length up to ``max_length`` works, no token, no sample and padding alone included; past it a clear error."""
    mixer = case.mixer()
    _nothing(case, mixer)
    with torch.no_grad():
        _lengths(case, mixer)
    return True


def _nothing(case: Case, mixer: Mixer) -> None:
    """Batches with nothing in them, or with nothing but padding: zeros, a gradient, and a stream that goes on."""
    for B, T in ((0, 7), (2, 0), (0, 0), (2, 7)):
        T = limit(mixer, T)
        sample = case.sample(mixer, B, T)
        masks: dict[str, Tensor | None] = {
            f" of {kind}": torch.zeros(B, T, dtype=dtype, device=sample.x.device)
            for kind, dtype in (("booleans", torch.bool), ("packed ids", torch.int64))
        }
        if B * T == 0:
            masks[""] = None
        for kind, mask in masks.items():
            what = f"{B} samples of {T} tokens" + (kind and f", a mask{kind} without a real one")
            x = sample.x.clone().requires_grad_()
            try:
                mixer.zero_grad(set_to_none=True)
                y = sample.with_x(x).forward(mixer, mask)
                if y.requires_grad:
                    y.sum().backward()
                for name, p in (("x", x), *mixer.named_parameters()):
                    if p.grad is not None and not bool((p.grad == 0).all()):
                        raise LawBroken(f"{name} gets a gradient that is not zero")
                streams = mixer.info.causal and (mask is None or mask.dtype == torch.bool)
                if streams:
                    _stream_nothing(mixer, sample, mask)
            except LawBroken as error:
                raise LawBroken(f"{what}: {error}") from None
            except Exception as error:
                raise LawBroken(f"{what}: {type(error).__name__}: {error}") from error
            if y.shape != x.shape or bool((y != 0).any()):
                raise LawBroken(f"{what}: y has shape {tuple(y.shape)}, zero: {not bool((y != 0).any())}")


@torch.no_grad()
def _stream_nothing(mixer: Mixer, sample: Sample, mask: Tensor | None) -> None:
    y, state = sample.stream(mixer, sample.start(mixer), mask)
    close("stream", y, torch.zeros_like(y), 0.0)
    again, _ = sample.stream(mixer, state)
    close("streaming on", again, sample.stream(mixer, sample.start(mixer))[0])


def _lengths(case: Case, mixer: Mixer) -> None:
    for T in (1, 2, 3, 13, 31, 67, 130):
        if (mixer.info.max_length or T) < T:
            continue
        sample = case.sample(mixer, 1, T)
        y = sample.forward(mixer)
        if y.shape != sample.x.shape or not bool(y.isfinite().all()):
            raise LawBroken(f"length {T}: y has shape {tuple(y.shape)}, finite: {bool(y.isfinite().all())}")
    if mixer.info.max_length is not None:
        too_long = case.sample(mixer, 1, mixer.info.max_length + 1)
        expect_error("max_length", "max_length", lambda: too_long.forward(mixer))


def gradient(case: Case) -> bool:
    """In training, at randomised parameters, every parameter gets a finite gradient that is not zero."""
    mixer = case.mixer(train=True)
    if not list(mixer.parameters()):
        return False
    sample = case.sample(mixer, 2, limit(mixer, 37))
    call = sample.call()
    y = sample.forward(mixer, call=call)
    torch.stack([(y * weights_for(y)).sum(), *call.losses.values()]).sum().backward()
    for name, p in mixer.named_parameters():
        if p.grad is None or not bool((p.grad != 0).any()):
            raise LawBroken(f"parameter {name} gets no gradient")
        if not bool(p.grad.isfinite().all()):
            raise LawBroken(f"parameter {name} gets a gradient that is not finite")
    return True


def cost(case: Case) -> bool:
    """FLOPs and what is kept for the backward grow no faster than declared."""
    mixer = case.mixer(torch.float32, train=True)
    top = limit(mixer, 1024)
    lengths = [top // 4, top // 2, top]
    flops, saved = [], []
    for T in lengths:
        sample = case.sample(mixer, 1, T, dtype=torch.float32)
        with torch.no_grad(), FlopCounter() as counter:
            sample.forward(mixer)
        flops.append(counter.total)
        saved.append(saved_bytes(mixer, sample))
    if flops[-1] == 0:
        return False
    check_exponent("FLOPs", mixer.info.cost, lengths, flops)
    check_exponent("bytes kept for the backward", mixer.info.memory, lengths, saved)
    return True


@torch.no_grad()
def independence(case: Case) -> bool:
    """A sample's result does not depend on its batch, and evaluation repeats bit for bit."""
    mixer = case.mixer()
    sample = case.sample(mixer, 3, limit(mixer, LENGTH))
    y = sample.forward(mixer)
    close("a second evaluation", sample.forward(mixer), y, 0.0)
    for b in range(3):
        close(
            "a sample alone against it in a batch", sample.rows(slice(b, b + 1)).forward(mixer), y[b : b + 1]
        )
    loud = sample.x.clone()
    loud[1:] *= 100
    close("a sample beside louder ones", sample.with_x(loud).forward(mixer)[:1], y[:1])
    return True


@torch.no_grad()
def errors(case: Case) -> bool:
    """Wrong input raises ``ValueError`` that names the argument and says what came."""
    mixer = case.mixer()
    sample = case.sample(mixer, 2, limit(mixer, 7))
    x, D = sample.x, mixer.dim

    def given(x: Tensor, **kwargs: Any) -> Any:
        return lambda: mixer(x, context=kwargs.pop("context", sample.context), call=sample.call(), **kwargs)

    expect_error("x of the wrong width", "x ", given(torch.cat([x, x], -1)), str(2 * D))
    expect_error("x of two axes", "x ", given(x[0]))
    expect_error("x of integers", "x ", given(x.long()))
    if list(mixer.parameters()):
        expect_error("x of another dtype", "x ", given(x.float()))
    expect_error("a mask of the wrong shape", "mask ", given(x, mask=x.new_ones(2, 3, dtype=torch.bool)))
    expect_error("a mask of floats", "mask ", given(x, mask=x.new_ones(x.shape[:2])))
    expect_error("a mask that is no tensor", "mask ", given(x, mask=[[True] * x.shape[1]] * 2))
    expect_error("a mask of negative numbers", "mask ", given(x, mask=-x.new_ones(x.shape[:2]).long()), "-1")
    expect_error("positions of the wrong shape", "positions ", given(x, positions=x.new_ones(2, 3)))
    expect_error("positions that are complex", "positions ", given(x, positions=1j * x[..., 0]))
    _side_errors(mixer, sample)
    if mixer.info.context:
        expect_error("no context", "context ", lambda: mixer(x, call=sample.call()))
    else:
        expect_error("a context", "context ", given(x, context=Context(x)))
    if mixer.info.causal:
        expect_error("a state of another batch", "state ", lambda: sample.stream(mixer, mixer.init_state(3)))
    else:
        expect_error("init_state", "stream", lambda: mixer.init_state(2))
    if case.reject is not None:
        expect_error("an unknown option", "no_such_option", case.reject)
    return True


def _side_errors(mixer: Mixer, sample: Sample) -> None:
    """Side inputs that nothing takes, of another batch, and of pairs where tokens are masked."""
    x, mask = sample.x, torch.ones(sample.x.shape[:2], dtype=torch.bool, device=sample.x.device)

    def given(mask: Tensor | None = None, **side: Any) -> Any:
        return lambda: mixer(x, mask=mask, context=sample.context, call=Call(side={**sample.side, **side}))

    expect_error("a side input that it does not take", "no_such_side", given(no_such_side=x))
    for name in mixer.info.side:
        expect_error("a side input of another batch", name, given(**{name: torch.cat((x, x))}))
        pairs = x.new_ones(2, x.shape[1], x.shape[1])
        expect_error("a side input of pairs beside a mask", name, given(mask, **{name: pairs}))
        expect_error("a function beside a mask", name, given(mask, **{name: lambda q, k: q == k}))


@torch.no_grad()
def mixing(case: Case) -> bool:
    """Where a mixing matrix is given, y = finish(matrix @ values)."""
    mixer = case.mixer()
    sample = case.sample(mixer, 2, limit(mixer, LENGTH))
    found = mixer.mixing(sample.x, context=sample.context, call=sample.call())
    if found is None:
        return False
    close("finish(matrix @ values)", found.finish(found.matrix @ found.values), sample.forward(mixer))
    return True


@torch.no_grad()
def purity(case: Case) -> bool:
    """Forward and stream write no buffer, no input and no state, in both modes."""
    for train in (False, True):
        mixer = case.mixer(train=train)
        sample = case.sample(mixer, 2, limit(mixer, LENGTH))
        before = {k: v.clone() for k, v in mixer.state_dict().items()} | {
            f"buffer {k}": v.clone() for k, v in mixer.named_buffers()
        }
        x = sample.x.clone()
        sample.forward(mixer)
        if mixer.info.causal:
            half = x.shape[1] // 2
            _, state = sample.times(0, half).stream(mixer, sample.start(mixer))
            held = map_state(Tensor.clone, state)
            sample.times(half, x.shape[1]).stream(mixer, state)
            for was, now in zip(leaves(held), leaves(state), strict=True):
                if not torch.equal(was, now):
                    raise LawBroken("stream wrote into the state that it was given")
        after = dict(mixer.state_dict()) | {f"buffer {k}": v for k, v in mixer.named_buffers()}
        for name, value in before.items():
            if not torch.equal(value, after[name]):
                raise LawBroken(f"{name} was written by a call in {'training' if train else 'evaluation'}")
        if not torch.equal(sample.x, x):
            raise LawBroken("x was written by a call")
    return True


@torch.no_grad()
def modes(case: Case) -> bool:
    """Training gives what evaluation gives, as nothing is dropped or drawn."""
    sample = case.sample(case.mixer(), 2, limit(case.mixer(), LENGTH))
    close(
        "output in training against evaluation",
        sample.forward(case.mixer(train=True)),
        sample.forward(case.mixer()),
    )
    return True
