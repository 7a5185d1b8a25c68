"""A card: what a paper contributes, the parts it is made of here, and the identities that prove it."""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import torch

from anyformer_papers.study import Study

Followed = Literal["paper", "code", "reconstruction"]
BeyondReach = Literal["human", "hardware", "weights", "scale"]
Outcome = Literal["holds", "broken", "skipped"]


class PeerMissing(Exception):
    """An identity needs a library that is not installed."""


class Exact(NamedTuple):
    """An identity that the paper proves or implies, or equality with an independent implementation."""

    identity: str
    check: Callable[[], None]


class Checked(NamedTuple):
    """How an identity came out."""

    identity: str
    outcome: Outcome
    detail: str
    seconds: float


@dataclass
class Card:
    """One paper.

    Attributes:
        slug: its row.
        what: what it contributes, in a sentence or two.
        parts: what it is made of here: ``"mixer retention"``, ``"channel moe"``, ``"model retnet"``,
            ``"position rope"``, ``"op linear_attention"``, ``"task recall"``, or ``"module:attribute"`` below
            ``anyformer``.
        differs: how it differs from its neighbours, best in one term.
        followed: what was checked against: the paper's text, its code, or neither (a reconstruction).
        notes: where the paper, its code and common knowledge disagree, and which one is followed.
        claim: the paper's claim in a sentence, with its figure; "" where it makes none that can be tested. What the
            study tests comes first: an order that the paper states, of a mechanism against its alternative. Figures
            of the paper's own scale, which no small study can give, come after it.
        beyond_reach: why nothing of the claim can be tested here, if so: it is about people, hardware, pretrained
            weights, or scale itself. A study beside it is then a proxy, of something that the paper does not say.
        study: the comparison that tests the claim small.
    """

    slug: str
    what: str
    parts: tuple[str, ...]
    differs: str
    followed: Followed
    notes: str = ""
    claim: str = ""
    beyond_reach: BeyondReach | None = None
    study: Study | None = None
    exacts: list[Exact] = field(default_factory=list)

    def exact(self, identity: str) -> Callable[[Callable[[], None]], Callable[[], None]]:
        """Add a check that raises where the identity, given in words, does not hold. It must run in seconds."""

        def add(check: Callable[[], None]) -> Callable[[], None]:
            self.exacts.append(Exact(identity, check))
            return check

        return add

    def check(self) -> list[Checked]:
        """Run every identity, under a fixed seed."""
        return [_run(exact) for exact in self.exacts]

    def missing_parts(self) -> list[str]:
        """Parts that this card names and the library does not have."""
        return [part for part in self.parts if not part_exists(part)]


def _run(exact: Exact) -> Checked:
    start = time.perf_counter()
    outcome: Outcome = "holds"
    detail = ""
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            exact.check()
    except PeerMissing as missing:
        outcome, detail = "skipped", str(missing)
    except Exception as error:  # whatever a check raises, its identity has not been shown
        outcome, detail = "broken", f"{type(error).__name__}: {error}"
    return Checked(exact.identity, outcome, detail, time.perf_counter() - start)


def peer(module: str) -> Any:
    """An independent implementation's module.

    Raises:
        PeerMissing: where it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise PeerMissing(f"needs {module.partition('.')[0]}: {error}") from None


def part_exists(part: str) -> bool:
    """Whether the library has what a card calls a part.

    Raises:
        ValueError: for words that name no kind of part.
    """
    if ":" in part:
        module, _, attribute = part.partition(":")
        try:
            return hasattr(importlib.import_module(f"anyformer.{module}"), attribute)
        except ImportError:
            return False
    kind, _, name = part.partition(" ")
    return name in _names(kind)


def _names(kind: str) -> list[str]:
    from anyformer import channels, mixers, models, positions, tasks
    from anyformer.ops import load_all

    kinds: dict[str, Callable[[], list[str]]] = {
        "mixer": mixers.mixers.ids,
        "channel": channels.channels.ids,
        "model": models.models.ids,
        "position": positions.positions.ids,
        "task": tasks.tasks.ids,
        "op": lambda: list(load_all()),
    }
    if kind not in kinds:
        raise ValueError(f"a part is named by one of {', '.join(kinds)}, or module:attribute; got {kind!r}")
    return kinds[kind]()
