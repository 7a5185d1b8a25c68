"""An embedder under test, and the values with which it is tested."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from anyformer.embed import Embedder, create_embedder, embedders
from anyformer.laws.case import brackets, randomized
from anyformer.schema import Field, SeriesWindow, StreamFacts

ELEMENTS = 7
"""Elements of a sequence or set under test."""

_FIELDS = [Field(name="numbers", width=2), Field(name="category", size=5), Field(name="number", width=1)]
_COLOURS = [Field(name="pixels", width=3)]
STREAMS = (
    StreamFacts(fields=_FIELDS),
    StreamFacts(fields=[*_FIELDS, Field(name="many", size=500)]),
    StreamFacts(shape="set", fields=_FIELDS),
    StreamFacts(shape="record", fields=_FIELDS),
    StreamFacts(shape="grid", size=(13,), fields=[Field(name="a", width=2), Field(name="b", width=1)]),
    StreamFacts(shape="grid", size=(10, 7), fields=_COLOURS),
    StreamFacts(shape="grid", size=(5, 4, 6), fields=_COLOURS),
    StreamFacts(fields=[Field(name="a", width=2), Field(name="b", width=1)]),
    StreamFacts(
        fields=[Field(name="numbers", width=6)],
        window=SeriesWindow(steps=ELEMENTS, columns=3, targets=[2, 0, 1], horizon=4),
    ),
)
"""Streams of every shape; an embedder is tested on those that it does not refuse."""


@dataclass(frozen=True)
class EmbedderCase:
    """A way to build an embedder for a stream, with the same weights every time.

    Attributes:
        label: its name in tables.
        make: builds it for a stream and a width, and on demand with the modules of another's fields.
        facts: the stream.
        dim: width D.
        reject: builds it with an option that does not exist; None if that is not possible.
    """

    label: str
    make: Callable[..., Embedder]
    facts: StreamFacts
    dim: int = 16
    reject: Callable[[], Any] | None = None

    def embedder(self, dtype: torch.dtype = torch.float64) -> Embedder:
        """Build the embedder with noise on its parameters."""
        return randomized(lambda: self.make(self.facts, self.dim)).to(dtype)

    def values(
        self, batch: int, *, dtype: torch.dtype = torch.float64, seed: int = 1, elements: int = ELEMENTS
    ) -> dict[str, Tensor]:
        """Draw values of the fields for ``batch`` samples."""
        found = self.facts.example(batch, elements, torch.Generator().manual_seed(seed))
        return {name: v.to(dtype) if v.is_floating_point() else v for name, v in found.items()}

    @property
    def ordered(self) -> bool:
        """True if the stream has elements in time, or in no order, of any number."""
        return self.facts.shape in ("sequence", "set") and self.embedder().info.length is None


def embedder_cases(target: str, *, dim: int = 16) -> list[EmbedderCase]:
    """Return the cases of an embedder: its registered options, each on every stream that it does not refuse.

    Args:
        target: one of :func:`anyformer.embed.list_embedders`, or ``"file.py:Class"``.
        dim: width D.

    Raises:
        ValueError: there is none of that name, or it refuses every stream.
    """
    found, reasons = [], []
    for options in embedders.get(target).examples:
        for facts in STREAMS:
            try:
                create_embedder(target, facts, dim, **options)
            except ValueError as error:
                reasons.append(str(error))
            else:
                found.append(_case(target, facts, dim, options))
    if not found:
        raise ValueError(f"embedder {target!r} embeds none of the streams under test: {reasons[0]}")
    return found


def _case(target: str, facts: StreamFacts, dim: int, options: Mapping[str, Any]) -> EmbedderCase:
    size = "" if facts.size is None else " of " + " x ".join(map(str, facts.size))
    fields = f"{len(facts.fields)} fields, {facts.shape}{size}" if facts.window is None else "window"
    return EmbedderCase(
        f"embed:{target}{brackets(options)}, {fields}",
        lambda facts, dim, known=None: create_embedder(target, facts, dim, known, **options),
        facts,
        dim,
        lambda: create_embedder(target, facts, dim, **{**options, "no_such_option": 1}),
    )
