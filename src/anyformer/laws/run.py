"""Running the laws."""

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
    """One law on one case."""

    case: str
    law: str
    outcome: Outcome
    detail: str
    seconds: float

    @property
    def good(self) -> bool:
        """Whether the mixer is as it must be."""
        return self.outcome not in ("broken", "wrongly excused")


def check_case(case: Case, only: Iterable[str] | None = None) -> list[Result]:
    """Run the laws, or ``only`` some of them, on one case."""
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
    """Hold a mixer to every law that applies to it.

    Args:
        target, dim, options: see :func:`cases_of`.
        only: some of the laws, by name.

    Raises:
        LawBroken: naming every law that is broken, and how; or that is excused and yet holds.
    """
    results = [r for case in cases_of(target, dim=dim, options=options) for r in check_case(case, only)]
    bad = [r for r in results if not r.good]
    if bad:
        raise LawBroken("\n".join(f"{r.case}: {r.law} ({r.outcome}): {r.detail}" for r in bad))
    return results


def run_law(law: Law[C], case: C, label: str, excuse: str | None = None) -> Result:
    """Run one law on one case, from a random state that is always the same.

    Args:
        label: the case's name in the result.
        excuse: the reason for which the case may break the law; then it must.
    """
    start = time.perf_counter()
    outcome: Outcome = "holds"
    detail = ""
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            if not law(case):
                outcome = "does not apply"
    except Exception as error:  # whatever a mixer raises, it has broken the law under which it raised
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
    """On CUDA the laws are about float32 and results that repeat: without TF32, and sums in one order where there is.

    Where an op has no form of one order, PyTorch takes the other one.
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
