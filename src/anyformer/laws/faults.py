"""Planted faults: mixers, ops and others that break a law on purpose, which show that the law can fail.

>>> @breaks("streaming")
... class DropsState(Sound):
...     def _stream(self, x, state, inputs):
...         return super()._stream(x, self._init_state(len(x), x.device, x.dtype), inputs)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from anyformer.contract import Inputs, Mixer, MixerInfo
from anyformer.embed import Embedder
from anyformer.heads import Head
from anyformer.laws.case import Case
from anyformer.laws.embedders.cases import STREAMS, EmbedderCase
from anyformer.laws.heads.cases import OBJECTIVES, HeadCase
from anyformer.laws.models.cases import SOURCE, VOCABULARY, ModelCase
from anyformer.laws.ops.cases import OpCase, Sizes
from anyformer.laws.tasks.cases import TaskCase
from anyformer.models import SequenceModel, load_spec
from anyformer.ops.scan import scan
from anyformer.state import State
from anyformer.tasks import Task, open_data

T = TypeVar("T", bound=type[Mixer])
W = TypeVar("W", bound=type[SequenceModel])
F = TypeVar("F", bound=Callable[[Tensor], Tensor])
E = TypeVar("E", bound=type[Embedder])
H = TypeVar("H", bound=type[Head])
D = TypeVar("D", bound=Callable[[Task], Any])


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
        case: the mixer, op or other part that breaks it.
        words: regular expression for the message of the law.
    """

    name: str
    law: str
    case: Case | ModelCase | OpCase | EmbedderCase | HeadCase
    words: str


@dataclass(frozen=True)
class TaskFault:
    """A damage to a task.

    Attributes:
        name: its name in tables.
        law: the law that it breaks.
        damage: changes a task that obeys all laws.
        words: regular expression for the message of the law.
    """

    name: str
    law: str
    damage: Callable[[Task], Any]
    words: str


FAULTS: list[Fault] = []
"""Planted mixers, each of which breaks a law."""
MODEL_FAULTS: list[Fault] = []
"""Planted whole models, each of which breaks a law over models."""
OP_FAULTS: list[Fault] = []
"""Planted ops, each of which breaks a law over ops."""
EMBEDDER_FAULTS: list[Fault] = []
"""Planted embedders, each of which breaks a law over embedders."""
HEAD_FAULTS: list[Fault] = []
"""Planted heads, each of which breaks a law over heads."""
TASK_FAULTS: list[TaskFault] = []
"""Damages to a task, each of which breaks a law over tasks."""


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


def embedder_case(embedder: type[Embedder], shape: str = "sequence") -> EmbedderCase:
    """Make a case of an embedder class on the streams of a shape that the laws test, the first of them.

    Args:
        shape: of the stream, or ``"window"`` for a sequence that is one.
    """
    facts = next(facts for facts in STREAMS if shape == ("window" if facts.window else facts.shape))
    return EmbedderCase(
        embedder.__name__,
        lambda facts, dim, known=None: embedder(facts, dim, known),
        facts,
        reject=lambda: embedder(facts, 16, no_such_option=1),
    )


def breaks_embedder(law: str, words: str, shape: str = "sequence") -> Callable[[E], E]:
    """Decorator: plant an embedder of streams of a shape that must break a law.

    Args:
        law: name of the law.
        words: regular expression for the message of the law.
        shape: of the stream, see :class:`anyformer.schema.StreamFacts`.
    """

    def plant(embedder: E) -> E:
        EMBEDDER_FAULTS.append(Fault(embedder.__name__, law, embedder_case(embedder, shape), words))
        return embedder

    return plant


def head_case(head: type[Head], words: str = "a class of each element") -> HeadCase:
    """Make a case of a head class for one of the questions that the laws ask."""
    objective = OBJECTIVES[words]
    return HeadCase(
        head.__name__,
        lambda outputs: head(16, outputs),
        objective,
        reject=lambda: head(16, 2, no_such_option=1),
    )


def breaks_head(law: str, words: str, question: str = "a class of each element") -> Callable[[H], H]:
    """Decorator: plant a head that must break a law.

    Args:
        law: name of the law.
        words: regular expression for the message of the law.
        question: one of :data:`anyformer.laws.heads.cases.OBJECTIVES`.
    """

    def plant(head: H) -> H:
        HEAD_FAULTS.append(Fault(head.__name__, law, head_case(head, question), words))
        return head

    return plant


def task_case(folder: Path, damage: Callable[[Task], Any] = lambda task: None) -> TaskCase:
    """Make a case of a task of a table's rows that obeys all laws, but for a damage.

    Args:
        folder: where the table is written.
        damage: changes the task.
    """
    random = np.random.default_rng(0)
    table = pd.DataFrame({"a": random.standard_normal(90).round(3), "b": random.choice(["x", "y", "z"], 90)})
    table["sort"] = np.where(table["a"] + (table["b"] == "x") > 0.3, "high", "low")
    table["part"] = np.array(["train", "train", "valid", "test", "train"] * 18)
    other = table.assign(a=table["a"].where(table["part"] != "test", 1e6))
    for name, values in (("sound", table), ("other", other)):
        values.to_csv(folder / f"{name}.csv", index=False)

    def make(name: str) -> Task:
        task = open_data(folder / f"{name}.csv", "sort", split="part")
        damage(task)
        return task

    return TaskCase("data:sound", lambda: make("sound"), folder / "sound.csv", lambda: make("other"))


def breaks_task(law: str, words: str) -> Callable[[D], D]:
    """Decorator: plant a damage, a function that changes a sound task in place, with which it must break a law.

    Args:
        law: name of the law.
        words: regular expression for the message of the law.
    """

    def plant(damage: D) -> D:
        TASK_FAULTS.append(TaskFault(damage.__name__.strip("_"), law, damage, words))
        return damage

    return plant
