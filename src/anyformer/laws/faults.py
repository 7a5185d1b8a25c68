"""Planted faults: mixers and ops that break a law on purpose, which show that the law can fail.

>>> @breaks("streaming")
... class DropsState(Sound):
...     def _stream(self, x, state, inputs):
...         return super()._stream(x, self._init_state(len(x), x.device, x.dtype), inputs)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeVar

import torch
from torch import Tensor, nn

from anyformer.contract import Inputs, Mixer, MixerInfo
from anyformer.laws.case import Case
from anyformer.laws.models.cases import SOURCE, VOCABULARY, ModelCase
from anyformer.laws.ops.cases import OpCase, Sizes
from anyformer.models import SequenceModel, load_spec
from anyformer.ops.scan import scan
from anyformer.state import State

T = TypeVar("T", bound=type[Mixer])
W = TypeVar("W", bound=type[SequenceModel])
F = TypeVar("F", bound=Callable[[Tensor], Tensor])


class Sound(Mixer):
    """A gated running sum that obeys every law. A planted fault is a subclass that changes one thing."""

    class Options(Mixer.Options):
        def info(self) -> MixerInfo:
            return MixerInfo(reach=(None, 0), cost="n", memory="n", state="constant")

    def __init__(self, dim: int, **options: Any) -> None:
        super().__init__(dim, **options)
        self.map = nn.Linear(dim, dim, bias=False)
        self.decay = nn.Parameter(torch.full((dim,), -0.5))

    def _run(self, x: Tensor, initial: Tensor, inputs: Inputs) -> tuple[Tensor, Tensor]:
        decay = -self.decay.float().exp() if x.dtype != torch.float64 else -self.decay.exp()
        a = inputs.zero(decay.expand(*x.shape[:2], -1)).exp()
        h, last = scan(a, self.map(x).to(a.dtype), initial)
        return h.to(x.dtype), last

    def _forward(self, x: Tensor, inputs: Inputs) -> Tensor:
        return self._run(x, self._init_state(x.shape[0], x.device, x.dtype)["h"], inputs)[0]

    def _init_state(self, batch_size: int, device: torch.device, dtype: torch.dtype) -> State:
        wide = torch.promote_types(dtype, torch.float32)
        return {"h": torch.zeros(batch_size, self.dim, device=device, dtype=wide)}

    def _stream(self, x: Tensor, state: State, inputs: Inputs) -> tuple[Tensor, State]:
        y, h = self._run(x, state["h"], inputs)
        return y, {"h": h}


@dataclass(frozen=True)
class Fault:
    """A planted fault.

    Attributes:
        name: its name in tables.
        law: the law that it breaks.
        case: the mixer or op that breaks it.
        words: regular expression for the message of the law.
    """

    name: str
    law: str
    case: Case | ModelCase | OpCase
    words: str


FAULTS: list[Fault] = []
"""Planted mixers, each of which breaks a law."""
MODEL_FAULTS: list[Fault] = []
"""Planted whole models, each of which breaks a law over models."""
OP_FAULTS: list[Fault] = []
"""Planted ops, each of which breaks a law over ops."""


def breaks(law: str, words: str = "") -> Callable[[T], T]:
    """Decorator: plant a mixer, most easily a subclass of :class:`Sound`, that must break a law.

    Args:
        law: name of the law.
        words: regular expression for the message of the law.
    """

    def plant(mixer: T) -> T:
        FAULTS.append(Fault(mixer.__name__, law, Case(mixer.__name__, lambda: mixer(16)), words))
        return mixer

    return plant


Form = Literal["alone", "joined", "encoded"]
"""A stack without a source, one that reads it as the beginning of its sequence, or an encoder-decoder."""


def model_case(model: type[SequenceModel], form: Form = "alone", **options: Any) -> ModelCase:
    """Make a case of a small model of a class, with options of its constructor."""
    spec = load_spec("encoder_decoder" if form == "encoded" else "transformer", dim=16, depth=1).model_dump()
    given = options if form == "alone" else {**options, "source": SOURCE}
    return ModelCase(model.__name__, lambda: model(spec, VOCABULARY, **given))


def breaks_model(law: str, words: str, form: Form = "alone", **options: Any) -> Callable[[W], W]:
    """Decorator: plant a subclass of ``SequenceModel`` that must break a law over whole models.

    Args:
        law: name of the law.
        words: regular expression for the message of the law.
        form: how the model reads a source, if it has one.
        options: options of its constructor.
    """

    def plant(model: W) -> W:
        MODEL_FAULTS.append(Fault(model.__name__, law, model_case(model, form, **options), words))
        return model

    return plant


@dataclass(frozen=True)
class _Planted(OpCase):
    """An example call of an op with one argument, x (B, T, K)."""

    def at(self, sizes: Sizes) -> OpCase:
        return replace(self, tensors=_example(sizes))


def _example(sizes: Sizes) -> dict[str, Tensor]:
    random = torch.Generator().manual_seed(0)
    return {"x": torch.randn(sizes.B, sizes.T, sizes.K, generator=random, dtype=torch.float64)}


def op_case(op: Callable[[Tensor], Any]) -> OpCase:
    """Make an example call of a function of x (B, T, K), for the laws over ops."""
    name = getattr(op, "__name__", "op").strip("_")
    return _Planted(name, "", lambda x: op(x), _example(Sizes(B=3, T=4, K=5)))


def breaks_op(law: str, words: str) -> Callable[[F], F]:
    """Decorator: plant an op, a function of x (B, T, K), that must break a law over ops.

    Args:
        law: name of the law.
        words: regular expression for the message of the law.
    """

    def plant(op: F) -> F:
        OP_FAULTS.append(Fault(op.__name__.strip("_"), law, op_case(op), words))
        return op

    return plant
