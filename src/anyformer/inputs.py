"""Inputs of a mixer beside x, and the layout of a batch for it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from anyformer.info import SideInput


@dataclass
class Context:
    """Another sequence to attend to: x (B, S, D), mask (B, S) as for :meth:`Mixer.forward`, positions (B, S)."""

    x: Tensor
    mask: Tensor | None = None
    positions: Tensor | None = None

    def check(self, batch: int, dim: int) -> None:
        """Raise ``ValueError`` unless x is ``(batch, time, dim)``, with a mask of its sizes or none."""
        if self.x.dim() != 3 or self.x.shape[0] != batch or self.x.shape[-1] != dim:
            raise ValueError(f"context.x must have shape ({batch}, time, {dim}), got {tuple(self.x.shape)}")
        if self.mask is not None:
            check_mask("context.mask", self.mask, (batch, self.x.shape[1]))


@dataclass
class Call:
    """Data of one call of a model beside x and y. A call without side inputs leaves y unchanged.

    Attributes:
        side: side inputs by name, those that the mixer's ``info.side`` lists with their shapes, see
            :class:`anyformer.info.SideInput`.
        losses: auxiliary losses by name, added by mixers; scalars, summed into the training loss.
        shared: values that layers pass to later layers in this call.
        notes: statistics that mixers gather in training for their own :meth:`Mixer.after_step`, by mixer and name.
    """

    side: dict[str, Any] = field(default_factory=dict)
    losses: dict[str, Tensor] = field(default_factory=dict)
    shared: dict[str, Any] = field(default_factory=dict)
    notes: dict[nn.Module, dict[str, Tensor]] = field(default_factory=dict)

    def add_loss(self, name: str, value: Tensor) -> None:
        """Add ``value`` to the loss of that name."""
        self.losses[name] = self.losses[name] + value if name in self.losses else value

    def note(self, mixer: nn.Module, name: str, value: Tensor) -> None:
        """Add ``value``, detached, to the statistic ``name`` of ``mixer``, such as a sum or a count over a step."""
        own, value = self.notes.setdefault(mixer, {}), value.detach()
        own[name] = own[name] + value if name in own else value


def moved(
    side: Mapping[str, Any],
    kinds: Mapping[str, SideInput],
    tokens: Callable[[Tensor, SideInput], Tensor],
    samples: Callable[[Tensor], Tensor] = lambda value: value,
) -> dict[str, Any]:
    """Return side inputs after tokens are permuted: per token by ``tokens``, per sample by ``samples``.

    Args:
        kinds: their declarations, ``info.side``; those not declared are per token.
        tokens: rearranges (B, T, ...); a new token gets 0, or the ``absent`` of the declaration.

    Raises:
        ValueError: one is a function of pairs of tokens, which cannot be permuted.
    """
    found = {}
    for name, value in side.items():
        kind = kinds.get(name, SideInput())
        if kind.of == "pair" and not isinstance(value, Tensor):
            raise ValueError(
                f"call.side has {name!r}, a function of pairs of tokens, which cannot go with them where they are "
                "masked, packed or moved: give a tensor"
            )
        move = {
            "token": tokens,
            "pair": lambda v, k: _moved_pairs(v, k, tokens),
            "sample": lambda v, _: samples(v),
        }
        found[name] = move[kind.of](value, kind)
    return found


def _moved_pairs(value: Tensor, kind: SideInput, tokens: Callable[[Tensor, SideInput], Tensor]) -> Tensor:
    """Rearrange value (B, T, T, ...) along both axes of tokens."""
    B, T = value.shape[:2]
    number = torch.arange(1, B * T + 1, device=value.device).reshape(B, T)
    place = tokens(number, SideInput())  # 0 = a new token
    sample, token = (place - 1).clamp_min(0) // max(T, 1), (place - 1).clamp_min(0) % max(T, 1)
    if value.numel() == 0:
        return value.new_full((*place.shape, place.shape[1], *value.shape[3:]), kind.absent)
    found = value[sample[:, :, None], token[:, :, None], token[:, None, :]]
    old = (place[:, :, None] > 0) & (place[:, None, :] > 0)
    return found.masked_fill(~old.reshape(*old.shape, *(1,) * (found.dim() - 3)), kind.absent)


def take_tokens(x: Tensor, take: Tensor) -> Tensor:
    """Gather x (B, T, ...) at the tokens ``take`` (B, W) int64: (B, W, ...)."""
    index = take.reshape(*take.shape, *(1,) * (x.dim() - 2)).expand(*take.shape, *x.shape[2:])
    return x.gather(1, index)


@dataclass(frozen=True)
class Inputs:
    """Arguments of ``_forward`` and ``_stream`` beside x: checked, and with each sample's real tokens first.

    Attributes:
        mask: (B, T) bool, real tokens first, or ``None`` if all are real.
        index: (B, T) int64, the index of each token in its sequence, continued in streaming.
        positions: (B, T) or (B, T, axes) float, explicit ids or the index.
        context: aligned in the same way.
        call: never None inside a mixer.
        sides: declarations of the call's side inputs; those not declared are per token.
    """

    mask: Tensor | None
    index: Tensor
    positions: Tensor
    context: Context | None
    call: Call
    sides: Mapping[str, SideInput] = field(default_factory=dict)

    @property
    def lengths(self) -> Tensor:
        """Number of real tokens of each sample, (B,) int64."""
        if self.mask is None:
            B, T = self.index.shape
            return torch.full((B,), T, device=self.index.device)
        return self.mask.sum(1)

    @property
    def numbers(self) -> Tensor:
        """Positions (B, T) on their first axis, for schemes that score pairs of tokens."""
        return self.positions if self.positions.dim() == 2 else self.positions[..., 0]

    def zero(self, x: Tensor, fill: float = 0.0) -> Tensor:
        """Return x (B, T, ...) with ``fill`` at masked tokens."""
        if self.mask is None:
            return x
        return x.masked_fill(~self.mask.reshape(*self.mask.shape, *(1,) * (x.dim() - 2)), fill)

    def between(self, times: slice) -> Inputs:
        """Return the inputs of a range of tokens, ``times``."""
        return self.pick(lambda t: t[:, times])

    def pick(self, choose: Callable[[Tensor], Tensor]) -> Inputs:
        """Return the inputs, side inputs included, of the tokens that ``choose`` takes from any tensor (B, T, ...)."""
        side = moved(self.call.side, self.sides, lambda value, _: choose(value))
        return self.replace(
            mask=None if self.mask is None else choose(self.mask),
            index=choose(self.index),
            positions=choose(self.positions),
            call=dataclasses.replace(self.call, side=side) if side else self.call,
        )

    def inside(self, who: str, takes: Iterable[str]) -> Call:
        """Return the call for mixers inside ``who`` that see other tokens than these: it keeps losses and notes only.

        Raises:
            ValueError: there are side inputs that they would take.
        """
        lost = sorted(set(takes) & set(self.call.side))
        if lost:
            raise ValueError(
                f"call.side has {', '.join(map(repr, lost))}, which {who} cannot hand on: the mixers in it see other "
                "tokens than those it belongs to"
            )
        return Call(losses=self.call.losses, notes=self.call.notes)

    def replace(self, **changes: Any) -> Inputs:
        """Return a copy with some fields changed."""
        return dataclasses.replace(self, **changes)


@dataclass(frozen=True)
class Layout:
    """Alignment of a batch: one row for each sequence, packed ones included, with its real tokens first."""

    shape: tuple[int, int]
    device: torch.device
    gather: Tensor | None = None  # (R, T'): index into B * T of the token at each place
    mask: Tensor | None = None  # (R, T'): True at real tokens
    back: Tensor | None = None  # (B, T): index into R * T' of the place of each token
    real: Tensor | None = None  # (B, T)
    rows: tuple[Tensor, Tensor] | None = None  # (R,), (R,): sample and packed id of each row

    @classmethod
    def of(cls, x: Tensor, mask: Tensor | None) -> Layout:
        B, T = x.shape[:2]
        if mask is None:
            return cls((B, T), x.device)
        if mask.dtype == torch.bool:
            start = torch.arange(B, device=x.device)[:, None] * T
            aligned = torch.arange(T, device=x.device) < mask.sum(1, keepdim=True)
            gather = (~mask).to(torch.uint8).argsort(dim=1, stable=True) + start
            return cls((B, T), x.device, gather, aligned, (mask.cumsum(1) - 1).clamp_min(0) + start, mask)
        return cls._packed(x, mask.long())

    @classmethod
    def _packed(cls, x: Tensor, ids: Tensor) -> Layout:
        B, T = ids.shape
        if ids.numel() and int(ids.min()) < 0:
            raise ValueError(
                f"mask must hold 0 for padding and n > 0 for packed sequence n, got {int(ids.min())}"
            )
        real = ids > 0
        sample = torch.arange(B, device=x.device)[:, None].expand(B, T)
        span = int(ids.max()) + 1 if ids.numel() else 1
        keys, row = torch.unique((sample * span + ids)[real], return_inverse=True)
        order = row.argsort(stable=True)
        lengths = torch.bincount(row, minlength=len(keys))
        place = torch.arange(len(row), device=x.device) - (lengths.cumsum(0) - lengths)[row[order]]
        width = int(lengths.max()) if len(keys) else 0
        flat = real.flatten().nonzero()[:, 0]
        gather = torch.zeros(len(keys), width, dtype=torch.int64, device=x.device)
        gather[row[order], place] = flat[order]
        back = torch.zeros(B * T, dtype=torch.int64, device=x.device)
        back[flat[order]] = row[order] * width + place
        aligned = torch.arange(width, device=x.device) < lengths[:, None]
        rows = (torch.div(keys, span, rounding_mode="floor"), keys % span)
        return cls((B, T), x.device, gather, aligned, back.reshape(B, T), real, rows)

    def align(self, x: Tensor) -> Tensor:
        """Gather (B, T, ...) to (R, T', ...), zeros where masked."""
        if self.gather is None or self.mask is None:
            return x
        if self.gather.numel() == 0:  # part of the graph of x, so that its gradient is zero
            return x.flatten(0, 1)[:0].reshape(*self.gather.shape, *x.shape[2:])
        y = x.flatten(0, 1)[self.gather]
        return y.masked_fill(~self.mask.reshape(*self.mask.shape, *(1,) * (y.dim() - 2)), 0)

    def restore(self, y: Tensor) -> Tensor:
        """Scatter (R, T', ...) back to (B, T, ...), zeros where masked."""
        if self.back is None or self.real is None:
            return y
        if y.shape[0] * y.shape[1] == 0:
            return y.sum() + y.new_zeros(*self.shape, *y.shape[2:])
        z = y.flatten(0, 1)[self.back]
        return z.masked_fill(~self.real.reshape(*self.real.shape, *(1,) * (z.dim() - 2)), 0)

    def inputs(
        self,
        count: Tensor | None,
        positions: Tensor | None,
        context: Context | None,
        call: Call | None,
        dtype: torch.dtype,
        sides: Mapping[str, SideInput] | None = None,
    ) -> Inputs:
        R, width = self.shape if self.gather is None else self.gather.shape
        index = torch.arange(width, device=self.device).expand(R, width)
        if count is not None:
            index = index + count[:, None]
        if positions is not None:
            positions = self.align(positions.to(dtype))
        elif count is None:  # with stride 0 over the batch, so that derived values are computed once
            positions = torch.arange(width, device=self.device, dtype=dtype).expand(R, width)
        else:
            positions = index.to(dtype)
        call = call or Call()
        if self.gather is not None and call.side:
            # losses and shared stay the caller's own dicts
            side = moved(call.side, sides or {}, lambda value, _: self.align(value), self._of_samples)
            call = dataclasses.replace(call, side=side)
        return Inputs(self.mask, index, positions, self._align_context(context), call, sides or {})

    def _of_samples(self, value: Tensor) -> Tensor:
        """Return a side input (B, ...) of samples, one for each row."""
        return value if self.rows is None else value[self.rows[0]]

    def holes(self) -> Tensor | None:
        """Return () bool, True if a masked token lies between real ones of a sequence; ``None`` without a mask."""
        if self.gather is None or self.mask is None:
            return None
        apart = self.gather[:, 1:] - self.gather[:, :-1]
        return ((apart != 1) & self.mask[:, 1:]).any()

    def _align_context(self, context: Context | None) -> Context | None:
        if context is None:
            return None
        x, mask, positions = context.x, context.mask, context.positions
        if self.rows is not None:
            sample, packed_id = self.rows
            x = x[sample]
            positions = None if positions is None else positions[sample]
            if mask is not None:
                mask = mask[sample] if mask.dtype == torch.bool else mask[sample] == packed_id[:, None]
        elif mask is not None:
            mask = mask > 0
        layout = Layout.of(x, mask)
        if positions is None:
            B, S = x.shape[:2]
            positions = (
                torch.arange(S, device=x.device)
                .expand(B, S)
                .to(torch.float64 if x.dtype == torch.float64 else torch.float32)
            )
        else:
            positions = layout.align(positions)
        return Context(layout.align(x), layout.mask, positions)


def check_mask(name: str, mask: Tensor, shape: tuple[int, int]) -> None:
    """Raise ``ValueError`` unless a mask has this shape and is bool or of integers."""
    if not isinstance(mask, Tensor):
        raise ValueError(f"{name} must be a tensor of shape {shape}, got {type(mask).__name__}")
    integer = not mask.dtype.is_floating_point and not mask.dtype.is_complex
    if tuple(mask.shape) != shape or not integer:
        raise ValueError(
            f"{name} must have shape {shape} and be bool or integers (0 = padding, n = packed sequence n), "
            f"got {tuple(mask.shape)} {mask.dtype}"
        )


def check_positions(positions: Tensor | None, batch: int, time: int) -> None:
    """Raise ``ValueError`` unless positions are real numbers ``(batch, time)`` or ``(batch, time, axes)``, or None."""
    if positions is None:
        return
    if not isinstance(positions, Tensor):
        raise ValueError(f"positions must be a tensor, got {type(positions).__name__}")
    if positions.dim() not in (2, 3) or positions.shape[:2] != (batch, time) or positions.is_complex():
        raise ValueError(
            f"positions must be real numbers of shape ({batch}, {time}) or ({batch}, {time}, axes), "
            f"got {tuple(positions.shape)} {positions.dtype}"
        )
