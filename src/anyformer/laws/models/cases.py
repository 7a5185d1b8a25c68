"""A whole model under test, and the tokens with which it is tested."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from anyformer.contract import Call, SideInput
from anyformer.heads import Pool
from anyformer.inputs import moved
from anyformer.laws.case import randomized
from anyformer.mixers import mixers
from anyformer.models import EncoderDecoder, SequenceModel, create_model, load_spec, models
from anyformer.models.sequence import POOLS

Model = SequenceModel | EncoderDecoder
VOCABULARY = 11


@dataclass(frozen=True)
class ModelCase:
    """A way to build a model of tokens, with the same weights every time.

    Attributes:
        label: its name in tables.
        make: builds the model.
        device: the device on which it is tested.
    """

    label: str
    make: Callable[[], Model]
    device: str = "cpu"

    def model(self, dtype: torch.dtype = torch.float64, *, train: bool = False) -> Model:
        """Build the model with noise on its parameters, in evaluation mode unless ``train`` is true."""
        return randomized(self.make).to(self.device, dtype).train(train)

    def tokens(self, model: Model, batch: int, length: int, seed: int = 1) -> TokenInputs:
        """Draw random tokens for each sequence that the model reads, with different lengths where possible."""
        generator = torch.Generator().manual_seed(seed)
        found = {}
        for more, (name, longest) in enumerate(limits(model).items()):
            size = (batch, min(length + 3 * more, longest or length + 3 * more))
            found[name] = torch.randint(model.vocab_size or 1, size, generator=generator).to(self.device)
        if isinstance(model, EncoderDecoder):
            return TokenInputs(found, {})
        B, T = found["x"].shape
        side = model.body.required_side(B, T, generator)
        side = {name: value.to(self.device) for name, value in side.items()}
        return TokenInputs(found, {}, side, model.body.info.side)


@dataclass(frozen=True)
class TokenInputs:
    """Inputs of one call of a model: tokens (B, T) int64 by the name of the sequence, and masks of some of them.

    ``side`` are the side inputs without which a model of one sequence does not run, declared by ``sides``.
    """

    x: Mapping[str, Tensor]
    masks: Mapping[str, Tensor]
    side: Mapping[str, Tensor] = field(default_factory=dict)
    sides: Mapping[str, SideInput] = field(default_factory=dict)

    def __call__(self, model: Model, call: Call | None = None) -> Tensor:
        """Run a model; returns its outputs (B, T, O), or (B, O) if it pools."""
        if self.side:
            call = replace(call or Call(), side=dict(self.side))
        masks = [self.masks.get(name) for name in self.x]
        calls = {"call": call, "source_call": call} if len(masks) > 1 else {"call": call}
        y: Tensor = model(*self.x.values(), *masks, **calls)
        return y

    def masked(self, **masks: Tensor) -> TokenInputs:
        """Return the same tokens with masks (B, T) bool."""
        return replace(self, masks=masks)

    def changed(self, name: str, positions: slice, vocabulary: int) -> TokenInputs:
        """Return other tokens at some positions of one sequence."""
        x = self.x[name].clone()
        x[:, positions] = (x[:, positions] + 1) % vocabulary
        return replace(self, x={**self.x, name: x})

    def alone(self, b: int) -> TokenInputs:
        """Return the real tokens of one sample, without masks."""
        rows = {name: x[b : b + 1] for name, x in self.x.items()}
        side = {name: value[b : b + 1] for name, value in self.side.items()}
        if "x" in self.masks:
            side = moved(side, self.sides, lambda value, _: value[:, self.masks["x"][b]])
        x = {name: x[:, self.masks[name][b]] if name in self.masks else x for name, x in rows.items()}
        return replace(self, x=x, masks={}, side=side)


def limits(model: Model) -> dict[str, int | None]:
    """Return the sequences that a model reads, in the order of its arguments, each with its maximum length or None."""
    if isinstance(model, EncoderDecoder):
        return {"source": model.encoder.info.max_length, "target": model.decoder.info.max_length}
    return {"x": model.body.info.max_length}


def model_cases(target: str, *, dim: int = 16, device: str = "cpu") -> list[ModelCase]:
    """Return the cases of a named model (``"mamba"`` or ``"model:mamba"``) with each pooling; [] for other names."""
    name = target.removeprefix("model:")
    if name not in models or (name == target and name in mixers):
        return []
    spec = load_spec(name, dim=dim)
    if spec.encoder:
        return [ModelCase(f"model:{name}", lambda: EncoderDecoder(spec.model_dump(), VOCABULARY), device)]

    def pooling(pool: Pool) -> Callable[[], Model]:
        return lambda: create_model(spec, vocab_size=VOCABULARY, pool=pool)

    return [
        ModelCase(f"model:{name}{f' pool={pool}' if pool else ''}", pooling(pool), device) for pool in POOLS
    ]
