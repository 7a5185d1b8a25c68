"""Running the laws."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import torch

from anyformer.contract import Mixer
from anyformer.laws import laws, module_laws
from anyformer.laws.case import Case, LawBroken, cases_of
from anyformer.registry import nearest

LAWS: dict[str, Callable[[Case], bool]] = {
    "definition": laws.definition,
    "reach": laws.reach,
    "streaming": laws.streaming,
    "padding": laws.padding,
    "length": laws.length,
    "gradient": laws.gradient,
    "cost": laws.cost,
    "persistence": module_laws.persistence,
    "compilation": module_laws.compilation,
    "precision": module_laws.precision,
    "independence": laws.independence,
    "errors": laws.errors,
    "mixing": laws.mixing,
    "purity": laws.purity,
    "modes": laws.modes,
    "checkpointing": module_laws.checkpointing,
    "construction": module_laws.construction,
    "transforms": module_laws.transforms,
}

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
    chosen = list(LAWS) if only is None else list(only)
    for law in chosen:
        if law not in LAWS:
            raise ValueError(f"unknown law {law!r}{nearest(law, list(LAWS))}")
    excuses = case.info.exceptions
    for law in excuses:
        if law not in LAWS:
            raise ValueError(
                f"{case.label}: info.exceptions names {law!r}, which is no law; the laws are {', '.join(LAWS)}"
            )
    return [_run(case, law, excuses.get(law)) for law in chosen]


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


@contextmanager
def _exact(device: str) -> Iterator[None]:
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


def _run(case: Case, law: str, excuse: str | None) -> Result:
    start = time.perf_counter()
    outcome: Outcome = "holds"
    detail = ""
    try:
        with torch.random.fork_rng(devices=[]), _exact(case.device):
            torch.manual_seed(0)
            if not LAWS[law](case):
                outcome = "does not apply"
    except Exception as error:  # whatever a mixer raises, it has broken the law under which it raised
        outcome = "broken"
        detail = str(error) if isinstance(error, LawBroken) else f"{type(error).__name__}: {error}"
    if excuse is not None:
        if outcome == "broken":
            outcome, detail = "excused", excuse
        elif outcome == "holds":
            outcome, detail = "wrongly excused", f"info.exceptions excuses it ({excuse}), but it holds"
    return Result(case.label, law, outcome, detail, time.perf_counter() - start)
