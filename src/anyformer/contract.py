"""The interface of every map of a sequence to a sequence of the same length.

Token mixers, channel mixers, wrappers and model bodies are all :class:`Mixer`: they nest, and the same laws
(:mod:`anyformer.laws`) hold for them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from anyformer.info import GROWTHS, MixerInfo, Mixing, SideInput
from anyformer.inputs import Call, Context, Inputs, Layout, check_mask, check_positions, take_tokens
from anyformer.options import Part, PartOptions
from anyformer.state import State

__all__ = [
    "GROWTHS",
    "Call",
    "Context",
    "Inputs",
    "Mixer",
    "MixerInfo",
    "Mixing",
    "SideInput",
    "Wrapper",
    "after_step",
    "take_tokens",
    "writers",
]


class Mixer(Part, nn.Module):
    """A map of a sequence (B, T, D) to a sequence of the same shape.

    A subclass writes its options with their ``info``, ``__init__`` (which begins with ``super().__init__(dim,
    **options)``), ``_forward`` and, if causal, ``_init_state`` and ``_stream``::

        class Options(Mixer.Options):
            num_heads: int = 4

            def info(self) -> MixerInfo:
                return MixerInfo(reach=(None, 0 if self.causal else None), cost="n^2")

        options: Options

    The base class checks the arguments, masks and aligns: ``_forward`` sees left-aligned tokens, zero where masked.

    Args:
        dim: width D.
        inner: the mixers inside a wrapper, whose infos are passed to ``Options.info``.
        options: see ``Options``.
    """

    class Options(PartOptions):
        """The options of every mixer.

        Args:
            causal: a token sees no later one; without effect on channel mixers.
        """

        causal: bool = True

        def info(self, *inner: Any, **_: Any) -> MixerInfo:
            """Return the :class:`MixerInfo` of the mixer under these options; raise ``ValueError`` if they conflict."""
            raise NotImplementedError

        def needs_causal(self, value: bool, why: str) -> None:
            """Raise ``ValueError`` unless ``causal`` is ``value``."""
            if self.causal != value:
                raise ValueError(f"causal={self.causal} is not possible for {self.owner}: {why}")

    options: Options
    info: MixerInfo

    def __init_subclass__(cls, **arguments: Any) -> None:
        super().__init_subclass__(**arguments)
        if "describe" in vars(cls):
            raise ValueError(
                f"{cls.__name__} has describe(), which is no longer called: write its options as class Options("
                "Mixer.Options) with a method info(self) -> MixerInfo, see docs/add_a_mixer.md"
            )

    def __init__(self, dim: int, *inner: Mixer, **options: Any) -> None:
        super().__init__()
        if not isinstance(dim, int) or dim < 1:
            raise ValueError(f"dim must be a positive integer, got {dim!r}")
        self.dim = dim
        self.options = self.Options.read(options)
        self.info = self._named(self.options.info(*(mixer.info for mixer in inner)))

    @classmethod
    def _named(cls, info: MixerInfo) -> MixerInfo:
        return dataclasses.replace(info, name=cls.Options.owner)

    @classmethod
    def info_of(cls, *inner: MixerInfo, **options: Any) -> MixerInfo:
        """Return the :class:`MixerInfo` of this mixer under these options, around ``inner``, without building it."""
        return cls._named(cls.Options.read(options).info(*inner))

    # ---- written by subclasses --------------------------------------------------------------------------

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
        """Return side inputs drawn at random, where ``info.side`` names some; by default those of the mixers inside."""
        found: dict[str, Tensor] = {}
        for child in self.modules():
            if (
                isinstance(child, Mixer)
                and child is not self
                and type(child).example_side is not Mixer.example_side
            ):
                found |= child.example_side(batch_size, length, generator)
        return {name: value for name, value in found.items() if name in self.info.side}

    def required_side(self, batch_size: int, length: int, generator: torch.Generator) -> dict[str, Tensor]:
        """Return those of :meth:`example_side` without which the mixer does not run."""
        needed = self.info.required
        found = self.example_side(batch_size, length, generator) if needed else {}
        return {name: value for name, value in found.items() if name in needed}

    def after_step(self, notes: Mapping[str, Tensor], progress: float) -> None:
        """Update buffers (running means, codebooks, schedules) after a training step; nothing else writes them.

        Args:
            notes: the sums that this mixer noted with :meth:`Call.note` since the last step; empty if it did not run.
            progress: share of the training steps done, 0 to 1.
        """

    def hints(self) -> dict[str, dict[str, Any]]:
        """Return hints by parameter name of this module, for the optimiser factors ``{"decay": 0, "lr_scale": 0.1}``;
        ``{"looked_up": True}`` for a table of which a token reads a few rows, not counted where widths are solved."""
        return {}

    # ---- called by users --------------------------------------------------------------------------------

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
            inputs: checked inputs, from wrappers only; the arguments below are then left out.
            mask: (B, T) bool, True = real; or integers, 0 = padding, n > 0 = packed sequence n. A masked token
                affects no other and gets zeros.
            positions: (B, T) or (B, T, axes), real-valued ids; by default the number of the token.
            context: another sequence to attend to, for mixers whose ``info.context`` is set.
            call: see :class:`Call`.

        Returns:
            y (B, T, D), dtype of x.

        Raises:
            ValueError: naming the argument, what was expected and what came.
        """
        if inputs is not None:
            if x.shape[0] * x.shape[1] == 0:
                return x
            if inputs.mask is None:
                return self._forward(x, inputs)
            return inputs.zero(self._forward(inputs.zero(x), inputs))
        self._check(x, mask, positions, context)
        layout = self._layout(x, mask, call)
        inputs = layout.inputs(None, positions, context, call, self._position_dtype(x), self.info.side)
        self._check_length(inputs)
        aligned = layout.align(x)
        if aligned.shape[0] * aligned.shape[1] == 0:  # so that mixers never see an empty input
            return layout.restore(aligned)
        return layout.restore(inputs.zero(self._forward(aligned, inputs)))

    def init_state(
        self, batch_size: int, *, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> State:
        """Return the state before the first token: a pytree of tensors whose first axis is the batch."""
        self._check_streams()
        reference = next(self.parameters(), torch.empty(0))
        device = torch.device(device) if device is not None else reference.device
        own = self._init_state(batch_size, device, dtype or reference.dtype)
        return {"count": torch.zeros(batch_size, dtype=torch.int64, device=device), "own": own}

    def own_state(self, batch_size: int, device: torch.device, dtype: torch.dtype) -> State:
        """Return the state before the first token without the count of tokens, which a wrapper keeps for its mixers."""
        return self._init_state(batch_size, device, dtype)

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

        T may be any number, zero included. A masked token changes no state, so samples may advance by different
        numbers of tokens. ``context`` is needed with the first tokens only.

        Returns:
            y (B, T, D) and the new state; the old one stays valid.
        """
        if inputs is not None:
            if x.shape[0] == 0 or (x.shape[1] == 0 and inputs.context is None):
                return x, state
            if inputs.mask is None:
                return self._stream(x, state, inputs)
            y, new = self._stream(inputs.zero(x), state, inputs)
            return inputs.zero(y), new
        self._check_streams()
        self._check(x, mask, positions, context, streaming=True)
        if not isinstance(state, dict) or "count" not in state:
            raise ValueError(f"state must come from init_state or stream, got {type(state).__name__}")
        count: Tensor = state["count"]
        if count.shape[0] != x.shape[0]:
            raise ValueError(f"state is for a batch of {count.shape[0]}, x has a batch of {x.shape[0]}")
        layout = self._layout(x, mask, call, streaming=True)
        inputs = layout.inputs(count, positions, context, call, self._position_dtype(x), self.info.side)
        self._check_length(inputs, streaming=True)
        if x.shape[0] == 0 or (x.shape[1] == 0 and context is None):
            return x, state
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
        """Return the mixing matrix for x, real tokens first, or None for a mixer that has none."""
        self._check(x, mask, positions, context)
        layout = self._layout(x, mask, call)
        inputs = layout.inputs(None, positions, context, call, self._position_dtype(x), self.info.side)
        return self._mixing(layout.align(x), inputs)

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
        if torch._C._get_tracing_state() is not None:
            raise ValueError(
                "torch.jit.trace would fix the length and the mask of its example; use torch.compile or torch.export"
            )
        if not isinstance(x, Tensor) or x.dim() != 3 or x.shape[-1] != self.dim:
            got = tuple(x.shape) if isinstance(x, Tensor) else type(x).__name__
            raise ValueError(f"x must have shape (batch, time, {self.dim}), got {got}")
        expected = next((p.dtype for p in self.parameters()), x.dtype)
        autocast = torch.is_autocast_enabled(x.device.type)
        if not x.dtype.is_floating_point or (x.dtype != expected and not autocast):
            raise ValueError(f"x must have dtype {expected}, like the parameters, got {x.dtype}")
        B, T = x.shape[:2]
        if mask is not None:
            check_mask("mask", mask, (B, T))
            if streaming and mask.dtype != torch.bool:
                raise ValueError(
                    f"mask must be bool while streaming (packed sequences do not stream), got {mask.dtype}"
                )
        check_positions(positions, B, T)
        if positions is not None and self.info.numbers_tokens:
            raise ValueError(
                f"positions must be None: {self.info.name} numbers the tokens of its parts itself"
            )
        if context is not None:
            if not self.info.context:
                raise ValueError(f"context was given, but {self.info.name} takes none")
            context.check(B, self.dim)
        elif self.info.context and not streaming:
            raise ValueError(f"context must be given: {self.info.name} attends to one")

    def _layout(self, x: Tensor, mask: Tensor | None, call: Call | None, streaming: bool = False) -> Layout:
        """Check the side inputs and the mask; return the layout that puts real tokens first."""
        for name, value in (call.side if call else {}).items():
            if name not in self.info.side:
                takes = ", ".join(self.info.side) or "none"
                raise ValueError(
                    f"call.side has {name!r}, which {self.info.name} does not take; it takes (info.side): {takes}"
                )
            self.info.side[name].check(name, value, *x.shape[:2])
        for name in self.info.required:
            if call is None or name not in call.side:
                raise ValueError(f"call.side must have {name!r}: {self.info.name} does not run without it")
        layout = Layout.of(x, mask)
        holes = layout.holes() if self.info.grid and not streaming else None
        if holes is not None:
            why = (
                f"mask must not leave out a token between others: {self.info.name} reads tokens as a grid, where the "
                "later ones would shift"
            )
            if torch.compiler.is_compiling():
                torch._assert_async(~holes, why)
            elif bool(holes):
                raise ValueError(why)
        return layout

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


class Wrapper(Mixer):
    """A mixer around others, which are positional arguments: ``super().__init__(dim, inner, **options)``.

    Attributes:
        inner_norm: in a spec, the stacks inside end with a norm.
        is_token_mixer: in a spec, it stands for the token mixer of a layer: the channel mixer is behind it, and the
            layers inside have none of the model's.
    """

    inner_norm: ClassVar[bool] = True
    is_token_mixer: ClassVar[bool] = False

    class Options(Mixer.Options, without=("causal",)):
        """The options of a wrapper, whose ``info(self, inner)`` gets the infos of the mixers inside."""

        def inside(
            self, stack: int, stacks: int, dim: int, grid: tuple[int, ...] | None
        ) -> tuple[int, tuple[int, ...] | None]:
            """Return the width of what one of the stacks sees, and the sizes of the grid of its tokens.

            Args:
                stack: its number, from 0.
                stacks: how many there are.
                dim, grid: those around the wrapper; no grid is None.
            """
            return dim, grid

        def refuse_grids(self, why: str, **mixers: MixerInfo) -> None:
            """Raise ``ValueError`` if one of the mixers reads tokens as a grid, on which ``why`` would shift them."""
            for name, info in mixers.items():
                if info.grid:
                    raise ValueError(
                        f"{name} must not read tokens as a grid: {why} would shift the others on it"
                    )


def writers(model: nn.Module) -> list[Mixer]:
    """Return the mixers of a model that update buffers after a training step."""
    found = [m for m in model.modules() if isinstance(m, Mixer)]
    return [m for m in found if type(m).after_step is not Mixer.after_step]


def after_step(mixers: list[Mixer], call: Call, progress: float) -> None:
    """Update the buffers of mixers (see :func:`writers`) after an optimiser step.

    Args:
        call: the call of the step's forward passes.
        progress: share of the training steps done, 0 to 1.
    """
    with torch.no_grad():
        for mixer in mixers:
            mixer.after_step(call.notes.get(mixer, {}), progress)
