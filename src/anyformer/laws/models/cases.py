"""A whole model under test, and the tokens with which it is tested."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from anyformer.contract import Call, SideInput
from anyformer.embed import DEFAULT, EmbedderInfo, embedder_info
from anyformer.heads import head_class
from anyformer.inputs import moved
from anyformer.laws.case import randomized
from anyformer.laws.heads.cases import fit_drawn
from anyformer.mixers import mixers
from anyformer.models import ModelSpec, SequenceModel, create_model, load_spec, models
from anyformer.schema import InputFacts, SeriesWindow, Stream

VOCABULARY = 11
SOURCE = {"vocab_size": VOCABULARY}
WINDOW = InputFacts(num_features=6, window=SeriesWindow(steps=32, columns=3, targets=[2, 0, 1], horizon=4))
"""Inputs of models that read windows whole: values of three columns, and marks behind them."""
NUMBERS = InputFacts(num_features=3)
"""Inputs of models whose embedder reads numbers, and no tokens."""


@dataclass(frozen=True)
class ModelCase:
    """A way to build a model of tokens, with the same weights every time.

    Attributes:
        label: its name in tables.
        make: builds the model.
        device: the device on which it is tested.
    """

    label: str
    make: Callable[[], SequenceModel]
    device: str = "cpu"

    def model(self, dtype: torch.dtype = torch.float64, *, train: bool = False) -> SequenceModel:
        """Build the model with noise on its parameters and a fitted head, in evaluation mode unless ``train``."""
        model = randomized(self.make)
        fit_drawn(model.head, model.vocab_size or 1, model.num_outputs)
        return model.to(self.device, dtype).train(train)

    def tokens(self, model: SequenceModel, batch: int, length: int, seed: int = 1) -> TokenInputs:
        """Draw random tokens for each sequence that the model reads, with different lengths where possible."""
        generator = torch.Generator().manual_seed(seed)
        found: dict[str, Tensor] = {}
        if model.read_whole is not None or model.vocab_size is None:
            x = model.example(batch, length, generator)
            assert isinstance(x, Tensor)
            return TokenInputs({"x": x.to(self.device, next(model.parameters()).dtype)}, {})
        for more, (name, longest) in enumerate(limits(model).items()):
            size = (batch, min(length + 3 * more, longest or length + 3 * more))
            found[name] = torch.randint(model.vocab_size or 1, size, generator=generator).to(self.device)
        B, T = found["x"].shape
        side = model.body.required_side(B, T, generator)
        side = {name: value.to(self.device) for name, value in side.items()}
        return TokenInputs(found, {}, side, model.body.info.side)


@dataclass(frozen=True)
class TokenInputs:
    """Inputs of one call of a model: tokens (B, T) int64 of ``x``, and of its ``source`` if it has one; some masks. Of
    a model that reads windows whole, x are these.

    ``side`` are the side inputs without which the model does not run, declared by ``sides``.
    """

    x: Mapping[str, Tensor]
    masks: Mapping[str, Tensor]
    side: Mapping[str, Tensor] = field(default_factory=dict)
    sides: Mapping[str, SideInput] = field(default_factory=dict)

    @property
    def source(self) -> Stream | None:
        """The source, if there is one."""
        return Stream(self.x["source"], self.masks.get("source")) if "source" in self.x else None

    def __call__(self, model: SequenceModel, call: Call | None = None) -> Tensor:
        """Run a model; returns its outputs (B, T, O), or (B, O) if it pools."""
        if self.side:
            call = replace(call or Call(), side=dict(self.side))
        source = {} if self.source is None else {"source": self.source}
        y: Tensor = model(self.x["x"], self.masks.get("x"), call=call, **source)
        return y

    def masked(self, **masks: Tensor) -> TokenInputs:
        """Return the same tokens with masks (B, T) bool."""
        return replace(self, masks=masks)

    def changed(self, name: str, positions: slice) -> TokenInputs:
        """Return other tokens at some positions of one sequence."""
        x = self.x[name].clone()
        x[:, positions] = (x[:, positions] + 1) % VOCABULARY
        return replace(self, x={**self.x, name: x})

    def alone(self, b: int) -> TokenInputs:
        """Return the real tokens of one sample, without masks."""
        rows = {name: x[b : b + 1] for name, x in self.x.items()}
        side = {name: value[b : b + 1] for name, value in self.side.items()}
        if "x" in self.masks:
            side = moved(side, self.sides, lambda value, _: value[:, self.masks["x"][b]])
        x = {name: x[:, self.masks[name][b]] if name in self.masks else x for name, x in rows.items()}
        return replace(self, x=x, masks={}, side=side)


def limits(model: SequenceModel) -> dict[str, int | None]:
    """Return the sequences that a model reads, each with its maximum length or None."""
    longest = model.body.info.max_length
    if model.source is None:
        return {"x": longest}
    if model.encoder is not None:
        return {"source": model.encoder.info.max_length, "x": longest}
    return {"source": longest and longest // 2, "x": longest and longest - longest // 2}


def model_cases(target: str, *, dim: int = 16, device: str = "cpu") -> list[ModelCase]:
    """Return the cases of a named model (``"mamba"`` or ``"model:mamba"``), with a source and without, and with each
    pooling; [] for other names."""
    name = target.removeprefix("model:")
    if name not in models or (name == target and name in mixers):
        return []
    spec = load_spec(name, dim=dim)

    def case(words: str, **io: Any) -> ModelCase:
        io = {"vocab_size": VOCABULARY, **io}
        return ModelCase(f"model:{name}{words}", lambda: create_model(spec, **io), device)

    if spec.encoder:
        return [case("", source=SOURCE)]
    if _reads_windows(spec):
        io = {**WINDOW.model_dump(), "vocab_size": None, "num_outputs": 4 * 3 * 2, "pool": "last"}
        return [case(" of windows", **io)]
    if _reads_numbers(spec):
        return [case(" of numbers", **NUMBERS.model_dump(), num_outputs=4, pool="mean")]
    found = [case(f" pool={pool}" if pool else "", pool=pool) for pool in head_class(spec.head.name).pools]
    with torch.device("meta"):
        body = found[0].make().body
    alone = body.info.grid or body.required_side(1, 1, torch.Generator())  # of x only
    return found if alone else [*found, case(" with a source", source=SOURCE)]


def _reads_windows(spec: ModelSpec) -> bool:
    """True if the spec's embedder reads windows of series whole."""
    found = _embeds(spec, WINDOW)
    return found is not None and found.sites is not None


def _reads_numbers(spec: ModelSpec) -> bool:
    """True if the spec names an embedder of numbers, which reads no tokens."""
    return spec.embed.name != DEFAULT and _embeds(spec, NUMBERS) is not None


def _embeds(spec: ModelSpec, inputs: InputFacts) -> EmbedderInfo | None:
    """Return the properties of the spec's embedder for these inputs, None if it refuses them."""
    assert inputs.fields is not None
    try:
        return embedder_info(spec.embed.name, inputs.fields, **spec.embed.options)
    except ValueError:
        return None
