"""The one contract of everything that maps a sequence to a sequence of the same length.

Token mixers, channel mixers, blocks, wrappers and model bodies are all :class:`Mixer`, so that they nest and
are all held by the same laws (:mod:`anyformer.testing`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from anyformer.state import State

GROWTHS = ("none", "constant", "log n", "n", "n log n", "n^1.5", "n^2")


@dataclass(frozen=True)
class MixerInfo:
    """What a mixer is and what it costs, known without its weights.

    Attributes:
        reach: how many tokens back and ahead an output depends on, ``None`` = all. ``(0, 0)`` is a channel
            mixer, ``(None, 0)`` causal, ``(None, None)`` bidirectional.
        cost: growth of time with the length; ``memory``: of what training keeps; ``state``: of what streaming
            keeps of the past.
        side: names of the side inputs it understands (``call.side``).
        context: whether it looks at a context (cross-attention).
        max_length: the longest sequence it can take, ``None`` = any.
        exceptions: laws that it breaks, each with the reason; an excused law must fail.
    """

    reach: tuple[int | None, int | None]
    cost: str = "n"
    memory: str = "n"
    state: str = "none"
    side: tuple[str, ...] = ()
    context: bool = False
    max_length: int | None = None
    exceptions: Mapping[str, str] = field(default_factory=dict)
    name: str = ""
    papers: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for what in ("cost", "memory", "state"):
            if getattr(self, what) not in GROWTHS:
                raise ValueError(f"{what} must be one of {', '.join(GROWTHS)}; got {getattr(self, what)!r}")

    @property
    def causal(self) -> bool:
        """Whether no output depends on a later token, so that the mixer can stream."""
        return self.reach[1] == 0


@dataclass
class Context:
    """Another sequence to look at: x (B, S, D), mask (B, S) as for :meth:`Mixer.forward`, positions (B, S)."""

    x: Tensor
    mask: Tensor | None = None
    positions: Tensor | None = None


@dataclass
class Call:
    """What one call of a model carries beside x and y. Without it the result is the same.

    Attributes:
        side: facts in, by name: tensors (B, T, ...) or (B, ...).
        losses: auxiliary losses out, by name; scalars, summed into the training loss.
        shared: what layers give to later layers in this call.
    """

    side: dict[str, Any] = field(default_factory=dict)
    losses: dict[str, Tensor] = field(default_factory=dict)
    shared: dict[str, Any] = field(default_factory=dict)

    def add_loss(self, name: str, value: Tensor) -> None:
        """Add ``value`` to the loss of that name."""
        self.losses[name] = self.losses[name] + value if name in self.losses else value


class Mixing(NamedTuple):
    """A mixer written as a matrix: y = finish(matrix @ values)."""

    matrix: Tensor  # (B, H, T, S)
    values: Tensor  # (B, H, S, V)
    finish: Callable[[Tensor], Tensor]  # (B, H, T, V) -> (B, T, D)


def take_tokens(x: Tensor, take: Tensor) -> Tensor:
    """x (B, T, ...) at the tokens ``take`` (B, W) int64: (B, W, ...)."""
    index = take.reshape(*take.shape, *(1,) * (x.dim() - 2)).expand(*take.shape, *x.shape[2:])
    return x.gather(1, index)


@dataclass(frozen=True)
class Inputs:
    """What ``_forward`` and ``_stream`` get beside x: checked, and with each sample's real tokens first.

    Attributes:
        mask: (B, T) bool, real tokens first, or ``None`` where all are real.
        index: (B, T) int64, the number of each token in its sequence; streaming counts on.
        positions: (B, T) or (B, T, axes) float, explicit ids, or the index.
        context: aligned in the same way.
        call: always there inside a mixer.
    """

    mask: Tensor | None
    index: Tensor
    positions: Tensor
    context: Context | None
    call: Call

    @property
    def lengths(self) -> Tensor:
        """(B,) int64: the number of real tokens of each sample."""
        if self.mask is None:
            B, T = self.index.shape
            return torch.full((B,), T, device=self.index.device)
        return self.mask.sum(1)

    def zero(self, x: Tensor, fill: float = 0.0) -> Tensor:
        """x (B, T, ...) with ``fill`` at masked tokens."""
        if self.mask is None:
            return x
        return x.masked_fill(~self.mask.reshape(*self.mask.shape, *(1,) * (x.dim() - 2)), fill)

    def between(self, times: slice) -> Inputs:
        """Those of some neighbouring tokens."""
        return self.pick(lambda t: t[:, times])

    def pick(self, choose: Callable[[Tensor], Tensor]) -> Inputs:
        """Those of the tokens that ``choose`` takes out of any tensor (B, T, ...), side inputs included."""
        side = {
            name: choose(value)
            if isinstance(value, Tensor) and value.shape[:2] == self.index.shape
            else value
            for name, value in self.call.side.items()
        }
        return self.replace(
            mask=None if self.mask is None else choose(self.mask),
            index=choose(self.index),
            positions=choose(self.positions),
            call=dataclasses.replace(self.call, side=side) if side else self.call,
        )

    def replace(self, **changes: Any) -> Inputs:
        """A copy with some fields changed."""
        return dataclasses.replace(self, **changes)


class Mixer(nn.Module):
    """A sequence (B, T, D) to a sequence of the same shape.

    A subclass writes ``describe``, ``__init__`` (calling ``super().__init__(dim, **options)`` with the options
    that ``describe`` takes), ``_forward`` and, if causal, ``_init_state`` and ``_stream``. Masks, alignment and
    checks are the base class's work: ``_forward`` sees left-aligned tokens, zero where masked.
    """

    registry_id: ClassVar[str] = ""
    registry_papers: ClassVar[tuple[str, ...]] = ()

    def __init__(self, dim: int, **options: Any) -> None:
        super().__init__()
        if not isinstance(dim, int) or dim < 1:
            raise ValueError(f"dim must be a positive integer, got {dim!r}")
        self.dim = dim
        info = self.describe(**options)
        self.info = dataclasses.replace(
            info, name=self.registry_id or type(self).__name__, papers=self.registry_papers
        )

    # ---- what a subclass writes -------------------------------------------------------------------------

    @classmethod
    def describe(cls, **options: Any) -> MixerInfo:
        """The :class:`MixerInfo` of this mixer under these options, without building it."""
        raise NotImplementedError

    def _forward(self, x: Tensor, inputs: Inputs) -> Tensor:
        raise NotImplementedError

    def _init_state(self, batch_size: int, device: torch.device, dtype: torch.dtype) -> State:
        return {}

    def _stream(self, x: Tensor, state: State, inputs: Inputs) -> tuple[Tensor, State]:
        if self.info.reach == (0, 0):
            return self._forward(x, inputs), state
        raise NotImplementedError(f"{type(self).__name__} is causal but has no _stream")

    def _mixing(self, x: Tensor, inputs: Inputs) -> Mixing | None:
        return None

    def example_side(self, batch_size: int, length: int, generator: torch.Generator) -> dict[str, Tensor]:
        """Side inputs under which the laws are checked, for mixers whose ``info.side`` names some."""
        return {}

    def hints(self) -> dict[str, dict[str, Any]]:
        """Per parameter name of this module: ``{"decay": False}``, ``{"lr_scale": 0.1}``."""
        return {}

    # ---- what a user calls ------------------------------------------------------------------------------

    def forward(
        self,
        x: Tensor,
        inputs: Inputs | None = None,
        *,
        mask: Tensor | None = None,
        positions: Tensor | None = None,
        context: Context | None = None,
        call: Call | None = None,
    ) -> Tensor:
        """Mix a whole sequence.

        Args:
            x: (B, T, D) float.
            inputs: for wrappers, which pass on what they were given; everything else is then left out.
            mask: (B, T) bool, True = real; or integers, 0 = padding and n > 0 = packed sequence n. A masked
                token changes nothing and gets zeros.
            positions: (B, T) or (B, T, axes), real-valued ids; by default the number of the token.
            context: another sequence to look at, for mixers whose ``info.context`` is set.
            call: see :class:`Call`.

        Returns:
            y (B, T, D), dtype of x.

        Raises:
            ValueError: naming the argument, what was expected and what came.
        """
        if inputs is not None:
            return inputs.zero(self._forward(inputs.zero(x), inputs))
        self._check(x, mask, positions, context)
        layout = _Layout.of(x, mask)
        inputs = layout.inputs(None, positions, context, call, self._position_dtype(x))
        self._check_length(inputs)
        return layout.restore(inputs.zero(self._forward(layout.align(x), inputs)))

    def init_state(
        self, batch_size: int, *, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> State:
        """The state before the first token: a pytree of tensors whose first axis is the batch."""
        self._check_streams()
        reference = next(self.parameters(), torch.empty(0))
        device = torch.device(device) if device is not None else reference.device
        own = self._init_state(batch_size, device, dtype or reference.dtype)
        return {"count": torch.zeros(batch_size, dtype=torch.int64, device=device), "own": own}

    def stream(
        self,
        x: Tensor,
        state: State,
        inputs: Inputs | None = None,
        *,
        mask: Tensor | None = None,
        positions: Tensor | None = None,
        context: Context | None = None,
        call: Call | None = None,
    ) -> tuple[Tensor, State]:
        """Mix the next tokens of sequences whose past is in ``state``.

        Any number of new tokens, none included. A masked token changes no state, so samples may advance by
        different amounts. ``context`` need only come with the first tokens.

        Returns:
            y (B, T, D) and the new state; the old one is still good.
        """
        if inputs is not None:
            y, new = self._stream(inputs.zero(x), state, inputs)
            return inputs.zero(y), new
        self._check_streams()
        self._check(x, mask, positions, context, streaming=True)
        if not isinstance(state, dict) or "count" not in state:
            raise ValueError(f"state must come from init_state or stream, got {type(state).__name__}")
        count: Tensor = state["count"]
        if count.shape[0] != x.shape[0]:
            raise ValueError(f"state is for a batch of {count.shape[0]}, x has a batch of {x.shape[0]}")
        layout = _Layout.of(x, mask)
        inputs = layout.inputs(count, positions, context, call, self._position_dtype(x))
        self._check_length(inputs, streaming=True)
        y, own = self._stream(layout.align(x), state["own"], inputs)
        return layout.restore(inputs.zero(y)), {"count": count + inputs.lengths, "own": own}

    def mixing(
        self,
        x: Tensor,
        *,
        mask: Tensor | None = None,
        positions: Tensor | None = None,
        context: Context | None = None,
        call: Call | None = None,
    ) -> Mixing | None:
        """The mixing matrix for x, or ``None`` for a mixer that has none. Real tokens come first in it."""
        self._check(x, mask, positions, context)
        layout = _Layout.of(x, mask)
        inputs = layout.inputs(None, positions, context, call, self._position_dtype(x))
        return self._mixing(layout.align(x), inputs)

    # ---- checks -----------------------------------------------------------------------------------------

    def _check_streams(self) -> None:
        if not self.info.causal:
            raise ValueError(
                f"{self.info.name} does not stream: an output depends on later tokens "
                f"(reach {self.info.reach}); build it with causal=True if it can be"
            )

    def _check(
        self,
        x: Tensor,
        mask: Tensor | None,
        positions: Tensor | None,
        context: Context | None,
        streaming: bool = False,
    ) -> None:
        if not isinstance(x, Tensor) or x.dim() != 3 or x.shape[-1] != self.dim:
            got = tuple(x.shape) if isinstance(x, Tensor) else type(x).__name__
            raise ValueError(f"x must have shape (batch, time, {self.dim}), got {got}")
        expected = next((p.dtype for p in self.parameters()), x.dtype)
        autocast = torch.is_autocast_enabled(x.device.type)
        if not x.dtype.is_floating_point or (x.dtype != expected and not autocast):
            raise ValueError(f"x must have dtype {expected}, like the parameters, got {x.dtype}")
        B, T = x.shape[:2]
        if mask is not None:
            _check_mask("mask", mask, (B, T))
            if streaming and mask.dtype != torch.bool:
                raise ValueError(
                    f"mask must be bool while streaming (packed sequences do not stream), got {mask.dtype}"
                )
        if positions is not None and (positions.dim() not in (2, 3) or positions.shape[:2] != (B, T)):
            raise ValueError(
                f"positions must have shape ({B}, {T}) or ({B}, {T}, axes), got {tuple(positions.shape)}"
            )
        if context is not None:
            if not self.info.context:
                raise ValueError(f"context was given, but {self.info.name} takes none")
            if context.x.dim() != 3 or context.x.shape[0] != B or context.x.shape[-1] != self.dim:
                raise ValueError(
                    f"context.x must have shape ({B}, time, {self.dim}), got {tuple(context.x.shape)}"
                )
            if context.mask is not None:
                _check_mask("context.mask", context.mask, (B, context.x.shape[1]))
        elif self.info.context and not streaming:
            raise ValueError(f"context must be given: {self.info.name} looks at one")

    def _check_length(self, inputs: Inputs, streaming: bool = False) -> None:
        limit = self.info.max_length
        if limit is None or (not streaming and inputs.index.shape[1] <= limit) or inputs.index.numel() == 0:
            return
        index = inputs.index if inputs.mask is None else inputs.index.masked_fill(~inputs.mask, -1)
        longest = int(index.max()) + 1
        if longest > limit:
            raise ValueError(f"x must have at most {limit} tokens (max_length), got {longest}")

    def _position_dtype(self, x: Tensor) -> torch.dtype:
        return torch.float64 if x.dtype == torch.float64 else torch.float32


def _check_mask(name: str, mask: Tensor, shape: tuple[int, int]) -> None:
    integer = not mask.dtype.is_floating_point and not mask.dtype.is_complex
    if tuple(mask.shape) != shape or not integer:
        raise ValueError(
            f"{name} must have shape {shape} and be bool or integers (0 = padding, n = packed sequence n), "
            f"got {tuple(mask.shape)} {mask.dtype}"
        )


@dataclass(frozen=True)
class _Layout:
    """Where the real tokens go: one row a sequence, its real tokens first. Packed sequences get rows of their own."""

    shape: tuple[int, int]
    device: torch.device
    gather: Tensor | None = None  # (R, T'): which flat token each place takes
    mask: Tensor | None = None  # (R, T'): which places are real
    back: Tensor | None = None  # (B, T): which flat place each token went to
    real: Tensor | None = None  # (B, T)
    rows: tuple[Tensor, Tensor] | None = None  # (R,), (R,): sample and packed id of each row

    @classmethod
    def of(cls, x: Tensor, mask: Tensor | None) -> _Layout:
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
    def _packed(cls, x: Tensor, ids: Tensor) -> _Layout:
        B, T = ids.shape
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
        """(B, T, ...) to (R, T', ...), zeros where masked."""
        if self.gather is None or self.mask is None:
            return x
        if self.shape[0] * self.shape[1] == 0:
            return x.new_zeros(*self.gather.shape, *x.shape[2:])
        y = x.flatten(0, 1)[self.gather]
        return y.masked_fill(~self.mask.reshape(*self.mask.shape, *(1,) * (y.dim() - 2)), 0)

    def restore(self, y: Tensor) -> Tensor:
        """(R, T', ...) back to (B, T, ...), zeros where masked."""
        if self.back is None or self.real is None:
            return y
        if y.numel() == 0:
            return y.new_zeros(*self.shape, *y.shape[2:])
        z = y.flatten(0, 1)[self.back]
        return z.masked_fill(~self.real.reshape(*self.real.shape, *(1,) * (z.dim() - 2)), 0)

    def inputs(
        self,
        count: Tensor | None,
        positions: Tensor | None,
        context: Context | None,
        call: Call | None,
        dtype: torch.dtype,
    ) -> Inputs:
        R, width = self.shape if self.gather is None else self.gather.shape
        index = torch.arange(width, device=self.device).expand(R, width)
        if count is not None:
            index = index + count[:, None]
        if positions is not None:
            positions = self.align(positions.to(dtype))
        elif count is None:  # the batch's axis keeps stride 0, so that what is made of them is made once
            positions = torch.arange(width, device=self.device, dtype=dtype).expand(R, width)
        else:
            positions = index.to(dtype)
        call = call or Call()
        if self.gather is not None and call.side:
            # losses and shared stay the caller's own dicts
            call = dataclasses.replace(call, side={k: self._align_side(v) for k, v in call.side.items()})
        return Inputs(self.mask, index, positions, self._align_context(context), call)

    def _align_side(self, value: Any) -> Any:
        if not isinstance(value, Tensor):
            return value
        if value.dim() >= 2 and value.shape[:2] == self.shape:
            return self.align(value)
        if self.rows is not None and value.shape[:1] == self.shape[:1]:
            return value[self.rows[0]]
        return value

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
        layout = _Layout.of(x, mask)
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
