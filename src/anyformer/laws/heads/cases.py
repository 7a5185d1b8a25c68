"""A head under test, and the hidden states and targets with which it is tested."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from anyformer.heads import Head, create_head, head_class, heads
from anyformer.laws.case import brackets, randomized
from anyformer.objectives import Classify, Forecast, Labels, NextToken, Objective, QuantileForecast, Regress
from anyformer.questions import IGNORED

ELEMENTS = 7
"""Elements of a sequence under test."""

OBJECTIVES: dict[str, Objective] = {
    "a class of each element": NextToken(5),
    "a class": Classify(5),
    "any of some labels": Labels(4),
    "numbers": Regress(2),
    "steps ahead": Forecast(3, 2),
    "steps ahead, each by itself": Forecast(ELEMENTS, 2, pool=None),
    "quantiles": QuantileForecast(3, 2, levels=(0.1, 0.5, 0.9)),
}
"""Questions of every kind; a head is tested on those that it does not refuse."""


@dataclass(frozen=True)
class HeadCase:
    """A way to build a head for a question, with the same weights every time.

    Attributes:
        label: its name in tables.
        make: builds it for a number of outputs.
        objective: the question, and the loss that the head may take or leave.
        dim: width D of hidden states.
        reject: builds it with an option that does not exist; None if that is not possible.
    """

    label: str
    make: Callable[[int], Head]
    objective: Objective
    dim: int = 16
    reject: Callable[[], Any] | None = None

    def head(self, dtype: torch.dtype = torch.float64) -> Head:
        """Build the head with noise on its parameters, fitted on tokens that are drawn if it counts some."""
        head = randomized(lambda: self.make(self.objective.num_outputs)).to(dtype)
        fit_drawn(head, self.objective.num_outputs, self.objective.num_outputs)
        return head

    def run(self, head: Head, h: Tensor, at: slice = slice(None)) -> Tensor:
        """Return outputs of hidden states ``(..., D)``, with tokens that are the same every time; of some elements."""
        if head.context:
            size, generator = (*h.shape[:-1], head.context), torch.Generator().manual_seed(3)
            tokens = torch.randint(self.objective.num_outputs + 1, size, generator=generator)
            beside = {"tokens": tokens}
            if head.training:
                beside["following"] = tokens[..., 0]
            if head.training and head.reads_sample:
                beside["sample"] = tokens
        else:
            beside = {}
        found: Tensor = head(h if h.dim() < 3 else h[:, at], **{k: v[:, at] for k, v in beside.items()})
        return found

    @property
    def classes(self) -> bool:
        """True if a class is asked for."""
        return self.objective.question.kind == "class"

    @property
    def each(self) -> bool:
        """True if there are outputs for each element of a sequence."""
        return self.objective.pool is None

    def hidden(self, batch: int, *, seed: int = 1) -> Tensor:
        """Draw hidden states ``(batch, T, D)``, or ``(batch, D)`` of pooled sequences, float64."""
        shape = (batch, ELEMENTS, self.dim) if self.each else (batch, self.dim)
        return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)

    def targets(self, batch: int, *, seed: int = 2) -> Tensor:
        """Draw targets in the form of the objective; some are not asked for, but none of the first sample's."""
        generator, objective = torch.Generator().manual_seed(seed), self.objective
        if self.classes:
            shape = (batch, ELEMENTS) if self.each else (batch,)
            found = torch.randint(objective.num_outputs, shape, generator=generator)
        else:
            ahead = isinstance(objective, Forecast)
            rest = (objective.horizon, objective.num_variates) if ahead else (objective.num_outputs,)  # type: ignore[attr-defined]
            found = torch.randn((batch, *rest), generator=generator, dtype=torch.float64)
            if isinstance(objective, Labels):
                found = (found > 0).double()
        gone = torch.rand(found.shape, generator=generator) < 0.3
        gone[0] = False
        return found.masked_fill(gone, IGNORED if self.classes else torch.nan)

    def asked(self, targets: Tensor) -> Tensor | None:
        """Return where classes of elements are asked for; None if answers are of whole samples, or numbers."""
        return targets != IGNORED if self.classes and self.each else None


def fit_drawn(head: Head, tokens: int, outputs: int) -> None:
    """Fit a head that needs it on tokens out of so many, and answers out of so many, drawn at random."""
    if head.fit_elements:
        generator, size = torch.Generator().manual_seed(5), (40, 30)
        head.fit(*(torch.randint(most + 1, size, generator=generator) for most in (tokens, outputs)))


def head_cases(target: str, *, dim: int = 16) -> list[HeadCase]:
    """Return the cases of a head: its registered options, each with every question that it does not refuse.

    Args:
        target: one of :func:`anyformer.heads.list_heads`, or ``"file.py:Class"``.
        dim: width D of hidden states.

    Raises:
        ValueError: there is none of that name, or it refuses every question.
    """
    cls, found = head_class(target), []
    for options in heads.get(target).examples:
        for words, objective in OBJECTIVES.items():
            if cls.refuses(objective.question) is None and objective.pool in cls.pools:
                found.append(_case(target, words, objective, dim, options))
    if not found:
        raise ValueError(f"head {target!r} answers none of the questions under test: {', '.join(OBJECTIVES)}")
    return found


def _case(target: str, words: str, objective: Objective, dim: int, options: Mapping[str, Any]) -> HeadCase:
    def make(outputs: int, **more: Any) -> Head:
        return create_head(target, dim, outputs, pool=objective.pool, options={**options, **more})

    return HeadCase(
        f"head:{target}{brackets(options)}, {words}", make, objective, dim, lambda: make(2, no_such_option=1)
    )
