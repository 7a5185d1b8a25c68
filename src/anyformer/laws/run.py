"""Runs of the laws on cases, and their results."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import torch

from anyformer.contract import Mixer
from anyformer.laws.case import Case, LawBroken, cases_of
from anyformer.laws.registry import LAWS, Law

C = TypeVar("C")
Outcome = Literal["holds", "broken", "excused", "wrongly excused", "does not apply"]


@dataclass(frozen=True)
class Result:
    """Result of one law on one case."""

    case: str
    law: str
    outcome: Outcome
    detail: str
    seconds: float

    @property
    def good(self) -> bool:
        """True unless the law is broken, or excused although it holds."""
        return self.outcome not in ("broken", "wrongly excused")


def check_case(case: Case, only: Iterable[str] | None = None) -> list[Result]:
    """Run all laws, or those named in ``only``, on one case.

    Raises:
        ValueError: if ``only`` or the mixer's ``info.exceptions`` names an unknown law.
    """
    chosen = LAWS.chosen(only)
    excuses = case.info.exceptions
    for name in excuses:
        if name not in LAWS:
            raise ValueError(
                f"{case.label}: info.exceptions names {name!r}, which is no law; the laws are {', '.join(LAWS)}"
            )
    with exact(case.device):
        return [run_law(law, case, case.label, excuses.get(law.id)) for law in chosen]


def check_mixer(
    target: str | type[Mixer] | Callable[[], Mixer],
    *,
    dim: int = 16,
    options: Mapping[str, Any] | None = None,
    only: Iterable[str] | None = None,
) -> list[Result]:
    """Run every law that applies on a mixer.

    Args:
        target, dim, options: see :func:`cases_of`.
        only: names of the laws to run; by default all.

    Raises:
        LawBroken: if a law is broken, or excused although it holds; the message names each of them.
    """
    results = [r for case in cases_of(target, dim=dim, options=options) for r in check_case(case, only)]
    bad = [r for r in results if not r.good]
    if bad:
        raise LawBroken("\n".join(f"{r.case}: {r.law} ({r.outcome}): {r.detail}" for r in bad))
    return results


def run_law(law: Law[C], case: C, label: str, excuse: str | None = None) -> Result:
    """Run one law on one case, with the same random seed every time.

    Args:
        law: the law.
        case: the case.
        label: the name of the case in the result.
        excuse: the reason why the case may break the law; it is then an error if it does not.
    """
    start = time.perf_counter()
    outcome: Outcome = "holds"
    detail = ""
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            if not law(case):
                outcome = "does not apply"
    except Exception as error:  # a mixer that raises under a law has broken it
        outcome = "broken"
        detail = str(error) if isinstance(error, LawBroken) else f"{type(error).__name__}: {error}"
    if excuse is not None:
        if outcome == "broken":
            outcome, detail = "excused", excuse
        elif outcome == "holds":
            outcome, detail = "wrongly excused", f"info.exceptions excuses it ({excuse}), but it holds"
    return Result(label, law.id, outcome, detail, time.perf_counter() - start)


@contextmanager
def exact(device: str) -> Iterator[None]:
    """Switch off TF32 and prefer deterministic algorithms on CUDA, where the laws need float32 and repeatable results.

    Ops that have no deterministic algorithm run with the one that they have.
    """
    if device == "cpu":
        yield
        return
    rnn, was, warned = torch.backends.cudnn.allow_tf32, *_determinism()
    torch.backends.cudnn.allow_tf32 = False
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*deterministic")
            yield
    finally:
        torch.backends.cudnn.allow_tf32 = rnn
        torch.use_deterministic_algorithms(was, warn_only=warned)


def _determinism() -> tuple[bool, bool]:
    return torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
