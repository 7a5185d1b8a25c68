"""A mixer under test, and the inputs with which it is tested."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from anyformer.channels import channels
from anyformer.contract import Call, Context, Mixer, MixerInfo, SideInput
from anyformer.inputs import moved
from anyformer.mixers import mixers
from anyformer.models import load_spec, models
from anyformer.models.build import Backbone, decoder_of, encoder_of
from anyformer.parts import create_part
from anyformer.state import State

M = TypeVar("M", bound=nn.Module)


class LawBroken(AssertionError):
    """Raised where a mixer or an op breaks a law; the message says how."""


def seeded(make: Callable[[], M], change: Callable[[M], object] = lambda module: None) -> M:
    """Call ``make``, then ``change`` on its result, under a fixed random seed; returns the result."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = make()
        change(module)
    return module


def randomized(make: Callable[[], M]) -> M:
    """Call ``make`` and add noise to the parameters of its result, the same every time.

    At initial values such as zero, faults can hide.
    """

    @torch.no_grad()
    def move(module: M) -> None:
        for p in module.parameters():
            spread = p.float().std().item() if p.numel() > 1 else 0.0
            p.add_(torch.randn_like(p) * max(0.1, 0.3 * spread))

    return seeded(make, move)


@dataclass(frozen=True)
class Case:
    """A way to build a mixer, with the same weights every time.

    Attributes:
        label: its name in tables.
        make: builds the mixer with default initialisation.
        reject: builds it with an option that does not exist; None if that is not possible.
        device: the device on which it is tested. Weights and inputs are drawn on the CPU, so that they are the same
            on every device.
        side: True to draw the side inputs that the mixer takes, False to give only those that it requires: another
            path may then run.
    """

    label: str
    make: Callable[[], Mixer]
    reject: Callable[[], Any] | None = None
    device: str = "cpu"
    side: bool = False

    @property
    def info(self) -> MixerInfo:
        """Info of the mixer."""
        with torch.device("meta"):
            return self.make().info

    def mixer(
        self, dtype: torch.dtype | None = torch.float64, *, train: bool = False, randomize: bool = True
    ) -> Mixer:
        """Build the mixer.

        Args:
            dtype: of its parameters; None leaves them as they were built.
            train: True for training mode, False for evaluation mode.
            randomize: add noise to the parameters, because faults can hide behind initial values such as zero.
        """
        mixer = randomized(self.make) if randomize else seeded(self.make)
        return mixer.to(self.device, dtype).train(train)

    def variants(self) -> list[Case]:
        """Return the case without side inputs but required ones and, if the mixer takes others, the one with all."""
        info = self.info
        return [
            replace(self, side=side)
            for side in (False, True)
            if not side or set(info.side) - set(info.required)
        ]

    def sample(
        self, mixer: Mixer, batch: int, length: int, *, seed: int = 1, dtype: torch.dtype = torch.float64
    ) -> SampleInputs:
        """Draw random inputs of a mixer: x (batch, length, D), its context and side inputs; see ``side``."""
        generator = torch.Generator().manual_seed(seed)
        x = torch.randn(batch, length, mixer.dim, generator=generator, dtype=torch.float64).to(dtype)
        context = None
        if mixer.info.context:
            keys = torch.randn(batch, 5, mixer.dim, generator=generator, dtype=torch.float64).to(dtype)
            real = torch.arange(5) < torch.randint(2, 6, (batch, 1), generator=generator)
            context = Context(keys, real)
        draw = mixer.example_side if self.side else mixer.required_side
        side = draw(batch, length, generator)
        return SampleInputs(x, context, side, mixer.info.side).to(self.device)


@dataclass(frozen=True)
class SampleInputs:
    """Inputs of one call of a mixer: x (B, T, D), context and side inputs; ``sides`` describes the side inputs."""

    x: Tensor
    context: Context | None
    side: Mapping[str, Tensor]
    sides: Mapping[str, SideInput]

    def to(self, device: str) -> SampleInputs:
        """Return the inputs on another device."""
        context = self.context
        if context is not None:
            context = Context(context.x.to(device), None if context.mask is None else context.mask.to(device))
        return replace(self, x=self.x.to(device), context=context, side=self._each(lambda v: v.to(device)))

    def cast(self, dtype: torch.dtype) -> SampleInputs:
        """Return the inputs with x and context in another dtype."""
        context = self.context
        if context is not None:
            context = Context(context.x.to(dtype), context.mask)
        return replace(self, x=self.x.to(dtype), context=context)

    def times(self, start: int, stop: int) -> SampleInputs:
        """Return tokens ``start`` to ``stop`` - 1."""
        return self._of_tokens(lambda t: t[:, start:stop])

    def rows(self, rows: Any) -> SampleInputs:
        """Return some samples of the batch, by an index of its first axis."""
        context = self.context
        if context is not None:
            context = Context(context.x[rows], None if context.mask is None else context.mask[rows])
        return replace(self, x=self.x[rows], context=context, side=self._each(lambda v: v[rows]))

    def tokens(self, row: int, chosen: Tensor) -> SampleInputs:
        """Return one sample of the batch, with only the chosen tokens (T,) bool."""
        return self.rows(slice(row, row + 1))._of_tokens(lambda t: t[:, chosen])

    def with_x(self, x: Tensor) -> SampleInputs:
        """Return the inputs with another x."""
        return replace(self, x=x)

    def with_side(self, name: str, value: Tensor | None) -> SampleInputs:
        """Return the inputs with another side input of a name, or without it."""
        rest = {k: v for k, v in self.side.items() if k != name}
        return replace(self, side=rest if value is None else {**rest, name: value})

    def _each(self, change: Callable[[Tensor], Tensor]) -> dict[str, Tensor]:
        return {name: change(value) for name, value in self.side.items()}

    def _of_tokens(self, choose: Callable[[Tensor], Tensor]) -> SampleInputs:
        side = moved(self.side, self.sides, lambda value, _: choose(value))
        return replace(self, x=choose(self.x), side=side)

    def call(self) -> Call:
        """Return a new :class:`Call` with the side inputs."""
        return Call(side=dict(self.side))

    def forward(self, mixer: Mixer, mask: Tensor | None = None, call: Call | None = None) -> Tensor:
        """Run the mixer on the inputs; returns (B, T, D)."""
        y: Tensor = mixer(self.x, mask=mask, context=self.context, call=call or self.call())
        return y

    def start(self, mixer: Mixer) -> State:
        """Return the state before the first token, on the device of x."""
        return mixer.init_state(len(self.x), device=self.x.device)

    def stream(self, mixer: Mixer, state: State, mask: Tensor | None = None) -> tuple[Tensor, State]:
        """Stream the inputs through the mixer; returns (B, T, D) and the state after them."""
        return mixer.stream(self.x, state, mask=mask, context=self.context, call=self.call())


def cases_of(
    target: str | type[Mixer] | Callable[[], Mixer],
    *,
    dim: int = 16,
    options: Mapping[str, Any] | None = None,
    device: str = "cpu",
) -> list[Case]:
    """Return the cases of a mixer.

    Args:
        target: the name of a mixer, channel mixer or model (``"model:mamba"`` if a mixer has the same name);
            ``"file.py:Class"``; a class; or a function that builds a mixer.
        dim: width D.
        options: its options; by default every set of example options with which it was registered.
        device: the device on which to test it: ``"cpu"``, ``"cuda"``, ...

    Raises:
        ValueError: for an unknown name, or a target of another type.
    """
    return [replace(case, device=device) for case in _cases_of(target, dim, options)]


def _cases_of(
    target: str | type[Mixer] | Callable[[], Mixer], dim: int, options: Mapping[str, Any] | None
) -> list[Case]:
    if isinstance(target, str) and (
        target.startswith("model:") or (target in models and target not in mixers)
    ):
        return _model_cases(target.removeprefix("model:"), dim)
    if isinstance(target, str):
        registry = channels if target in channels else mixers
        sets = [options] if options is not None else list(registry.get(target).examples)
        return [_named_case(registry, target, dim, dict(s)) for s in sets]
    if isinstance(target, type) and issubclass(target, Mixer):
        given = dict(options or {})
        return [Case(f"{target.__name__}{brackets(given)}", lambda: target(dim, **given))]
    if callable(target) and not isinstance(target, type):
        return [Case(getattr(target, "__name__", "mixer"), target)]
    raise ValueError(f"target must be a name, a Mixer class or a function that builds one, got {target!r}")


def all_targets() -> list[str]:
    """Return the names of everything registered that obeys the laws: mixers, channel mixers, models (``model:ID``)."""
    return [*mixers.ids(), *channels.ids(), *(f"model:{name}" for name in models.ids())]


def _model_cases(name: str, dim: int) -> list[Case]:
    """Return a case for the body of a model; two for an encoder-decoder."""
    spec = load_spec(name, dim=dim)

    def reject() -> Any:
        return load_spec(name, no_such_option=1)

    if not spec.encoder:
        return [Case(f"model:{name}", lambda: Backbone(spec), reject)]
    return [
        Case(f"model:{name} decoder", lambda: decoder_of(spec), reject),
        Case(f"model:{name} encoder", lambda: encoder_of(spec), reject),
    ]


def _named_case(registry: Any, name: str, dim: int, options: dict[str, Any]) -> Case:
    def reject() -> Mixer:
        return create_part(registry, name, dim, {**options, "no_such_option": 1})

    return Case(f"{name}{brackets(options)}", lambda: create_part(registry, name, dim, options), reject)


def brackets(options: Mapping[str, Any]) -> str:
    """Return options as they stand behind a name: ``(window=3)``; empty for none."""
    return f"({', '.join(f'{k}={v}' for k, v in options.items())})" if options else ""
