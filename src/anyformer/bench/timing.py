"""Times that can be compared: the candidates take turns in one process, so that a drift falls on all of them."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

ENOUGH = 15
"""Timed runs of each candidate, at most."""
LEAST = 3
"""Timed runs of each candidate, at least, unless one alone takes longer than SLOW."""
TURN = 0.02
"""Seconds that one turn of a candidate takes at least: short runs are repeated, and the turn counts as their mean."""
SLOW = 5.0
"""Seconds: a first run that takes longer is itself the measurement, and the only one."""


@dataclass(frozen=True)
class Times:
    """The timed runs of one candidate, in seconds."""

    runs: tuple[float, ...]

    @property
    def median(self) -> float:
        """The middle run."""
        return statistics.median(self.runs)

    @property
    def spread(self) -> float:
        """Quartile distance over the median; 0 for fewer than three runs."""
        if len(self.runs) < 3:
            return 0.0
        low, _, high = statistics.quantiles(self.runs, n=4)
        return (high - low) / self.median

    def __str__(self) -> str:
        return (
            f"{milliseconds(self.median)} ±{self.spread:.0%}"
            if len(self.runs) > 2
            else milliseconds(self.median)
        )


def milliseconds(seconds: float) -> str:
    """Three digits."""
    value = 1000 * seconds
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def alternate(candidates: Mapping[str, Callable[[], object]], *, seconds: float = 3.0) -> dict[str, Times]:
    """Time candidates in turn, after a run or two of each that are not counted.

    Args:
        candidates: what to run, by name.
        seconds: after about this long no further round starts, once every candidate has run LEAST times.
    """
    runs: dict[str, list[float]] = {name: [] for name in candidates}
    done, repeats = set(), {}
    for name, run in candidates.items():
        first = timed(run)
        if first > SLOW:
            runs[name].append(first)
            done.add(name)
        else:
            repeats[name] = math.ceil(TURN / max(timed(run), TURN / 100))
    start = time.perf_counter()
    for round_ in range(ENOUGH):
        if round_ >= LEAST and time.perf_counter() - start > seconds:
            break
        for name, run in candidates.items():
            if name not in done:
                runs[name].append(timed(run, repeats[name]))
    return {name: Times(tuple(found)) for name, found in runs.items()}


def timed(run: Callable[[], object], repeats: int = 1) -> float:
    """Seconds of one run, the mean of some, with what it leaves to a GPU."""
    _wait()
    start = time.perf_counter()
    for _ in range(repeats):
        run()
    _wait()
    return (time.perf_counter() - start) / repeats


def undisturbed(run: Callable[[], object]) -> Callable[[], object]:
    """``run`` without a default device, which PyTorch keeps by looking at every operation from Python."""

    def alone() -> object:
        with torch._C.DisableTorchFunction():
            return run()

    return alone


def _wait() -> None:
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()


def seeded() -> torch.Generator:
    """A generator of the default device."""
    return torch.Generator(torch.get_default_device()).manual_seed(0)


def ratio(slow: Times, fast: Times) -> float:
    """How many times as long ``slow`` takes: the median over the rounds, where both ran in each."""
    if len(slow.runs) == len(fast.runs):
        return statistics.median(a / b for a, b in zip(slow.runs, fast.runs, strict=True))
    return slow.median / fast.median


def forward(function: Callable[..., object], *inputs: Tensor) -> Callable[[], object]:
    """A run of ``function`` without gradients."""

    def run() -> object:
        with torch.no_grad():
            return function(*inputs)

    return run


def training(function: Callable[..., Tensor], *inputs: Tensor) -> Callable[[], object]:
    """A run of ``function`` and of its backward to the inputs and all parameters, the output's gradient being given."""
    leaves = [x.detach().requires_grad_() if x.is_floating_point() else x for x in inputs]
    grads: list[Tensor] = []

    def run() -> None:
        for leaf in leaves:
            leaf.grad = None
        if isinstance(function, torch.nn.Module):
            function.zero_grad(set_to_none=True)
        y = function(*leaves)
        if not grads:
            grads.append(torch.randn_like(y))
        y.backward(grads[0])

    return run
