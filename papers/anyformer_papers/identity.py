"""Identities: statements that a paper proves or implies, or equality with an independent implementation.

Each is checked in seconds.
"""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import torch

from anyformer.convert import from_hf
from anyformer.laws.checks import perturb
from anyformer.laws.measures import close

Outcome = Literal["holds", "broken", "skipped"]


class PeerMissing(Exception):
    """Raised by an identity that needs a library which is not installed."""


class Checked(NamedTuple):
    """Outcome of one identity; ``detail`` is the reason where it does not hold or was skipped."""

    identity: str
    outcome: Outcome
    detail: str
    seconds: float


class Identity(NamedTuple):
    """A statement in words, and a check that raises where it does not hold."""

    words: str
    check: Callable[[], None]

    def run(self) -> Checked:
        """Check it under a fixed seed."""
        start = time.perf_counter()
        outcome: Outcome = "holds"
        detail = ""
        try:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(0)
                self.check()
        except PeerMissing as missing:
            outcome, detail = "skipped", str(missing)
        except Exception as error:  # whatever a check raises, its identity has not been shown
            outcome, detail = "broken", f"{type(error).__name__}: {error}"
        return Checked(self.words, outcome, detail, time.perf_counter() - start)


def identity(words: str) -> Callable[[Callable[[], None]], Identity]:
    """Decorator: make a check an identity of the card in whose file it stands. It must run in seconds."""
    return lambda check: Identity(words, check)


def peer(module: str) -> Any:
    """Import a module of an independent implementation.

    Raises:
        PeerMissing: where it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise PeerMissing(f"needs {module.partition('.')[0]}: {error}") from None


def equals_encoder_decoder(theirs: Any, length: int, real: int, tolerance: float = 1e-5) -> None:
    """Check that an encoder-decoder of transformers has the same logits after conversion.

    All its parameters are perturbed first: at their initial values, many mistakes cancel.

    Args:
        theirs: a model with a vocabulary of 31 tokens, the first three of which are special.
        length: tokens of the two sources.
        real: tokens of the second source; the rest of it is padding.
        tolerance: as in :func:`anyformer.laws.measures.close`.

    Raises:
        LawBroken: if the logits differ.
    """
    theirs = theirs.eval()
    perturb(theirs, 0.1)
    source, target = torch.randint(3, 31, (2, length)), torch.randint(3, 31, (2, 7))
    mask = torch.arange(length) < torch.tensor([[length], [real]])
    expected = theirs(source, mask.long(), target).logits
    close(f"logits of {length} tokens", from_hf(theirs)(source, target, mask), expected, tolerance)
