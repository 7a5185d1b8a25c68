"""Laws of visibility: the declared reach, padding and packed sequences, and sequences of every length."""

from __future__ import annotations

import torch
from torch import Tensor

from anyformer.contract import Mixer
from anyformer.laws.case import Case, LawBroken, SampleInputs
from anyformer.laws.measures import (
    LENGTH,
    close,
    expect_error,
    limit,
    ragged_mask,
)
from anyformer.laws.registry import register_law


@register_law("reach")
@torch.no_grad()
def reach(case: Case) -> bool:
    """Changes of tokens outside the declared reach change no output, tested by perturbation: top-k has no gradient."""
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
                # not bit by bit: FFTs spread rounding errors over the whole length
                close(
                    f"output {t} after a change of {side} tokens (reach {mixer.info.reach})",
                    changed[:, t],
                    y[:, t],
                )
    return True


@register_law("padding")
def padding(case: Case) -> bool:
    """Masked tokens change no other output, and get zeros and no gradient; packed sequences do not see each other."""
    for variant in case.variants():
        _padding(variant)
    return True


def _padding(case: Case) -> None:
    mixer = case.mixer()
    T = limit(mixer, LENGTH)
    sample = case.sample(mixer, 3, T)
    order = torch.arange(T, device=sample.x.device)
    lengths = torch.tensor([[T], [T // 2], [1]], device=sample.x.device)
    masks = {
        "right": order < lengths,
        "left": order >= T - lengths,
        "scattered": ragged_mask(3, T).to(sample.x.device),
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


@torch.no_grad()
def _packed(mixer: Mixer, sample: SampleInputs) -> None:
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


@register_law("length")
def length(case: Case) -> bool:
    """Every length up to ``max_length`` works, as do empty batches and padding alone; a longer one is a clear error."""
    mixer = case.mixer()
    _empty(case, mixer)
    with torch.no_grad():
        _lengths(case, mixer)
    return True


def _empty(case: Case, mixer: Mixer) -> None:
    """Check batches without samples or tokens, or with padding alone: outputs and gradients are zero, streams go on."""
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
                    _stream_empty(mixer, sample, mask)
            except LawBroken as error:
                raise LawBroken(f"{what}: {error}") from None
            except Exception as error:
                raise LawBroken(f"{what}: {type(error).__name__}: {error}") from error
            if y.shape != x.shape or bool((y != 0).any()):
                raise LawBroken(f"{what}: y has shape {tuple(y.shape)}, zero: {not bool((y != 0).any())}")


@torch.no_grad()
def _stream_empty(mixer: Mixer, sample: SampleInputs, mask: Tensor | None) -> None:
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
