"""Comparable times: candidates take turns in one process, so that a change of the machine's speed falls on all."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

MAX_RUNS = 15
"""Timed turns of each candidate, at most."""
MIN_RUNS = 3
"""Timed turns of each candidate, at least, unless its first run takes longer than SLOW_SECONDS."""
TURN_SECONDS = 0.02
"""Shortest turn of a candidate: shorter runs are repeated within a turn, which counts as their mean."""
SLOW_SECONDS = 5.0
"""A first run that takes longer is itself the measurement, and the only one."""


@dataclass(frozen=True)
class Times:
    """The timed runs of one candidate, in seconds."""

    runs: tuple[float, ...]

    @property
    def median(self) -> float:
        """Median run, in seconds."""
        return statistics.median(self.runs)

    @property
    def spread(self) -> float:
        """Quartile distance divided by the median; 0 for fewer than three runs."""
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
    """Format a time in milliseconds, with three significant digits or more."""
    value = 1000 * seconds
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def alternate(candidates: Mapping[str, Callable[[], object]], *, seconds: float = 3.0) -> dict[str, Times]:
    """Time candidates in turn, after one or two runs of each that are not counted.

    Args:
        candidates: functions to time, by name.
        seconds: no further round starts after this time, once every candidate has had MIN_RUNS turns.
    """
    runs: dict[str, list[float]] = {name: [] for name in candidates}
    done, repeats = set(), {}
    for name, run in candidates.items():
        first = timed(run)
        if first > SLOW_SECONDS:
            runs[name].append(first)
            done.add(name)
        else:
            repeats[name] = math.ceil(TURN_SECONDS / max(timed(run), TURN_SECONDS / 100))
    start = time.perf_counter()
    for round_ in range(MAX_RUNS):
        if round_ >= MIN_RUNS and time.perf_counter() - start > seconds:
            break
        for name, run in candidates.items():
            if name not in done:
                runs[name].append(timed(run, repeats[name]))
    return {name: Times(tuple(found)) for name, found in runs.items()}


def timed(run: Callable[[], object], repeats: int = 1) -> float:
    """Return the mean seconds of ``repeats`` runs, work queued on a GPU included."""
    _synchronize()
    start = time.perf_counter()
    for _ in range(repeats):
        run()
    _synchronize()
    return (time.perf_counter() - start) / repeats


def undisturbed(run: Callable[[], object]) -> Callable[[], object]:
    """Return ``run`` without the torch-function mode of a default device, which adds Python time to every operation."""

    def alone() -> object:
        with torch._C.DisableTorchFunction():
            return run()

    return alone


def _synchronize() -> None:
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()


def seeded() -> torch.Generator:
    """Return a generator on the default device, with seed 0."""
    return torch.Generator(torch.get_default_device()).manual_seed(0)


def ratio(slow: Times, fast: Times) -> float:
    """Return the time of ``slow`` over that of ``fast``: the median over rounds, if both ran in every round."""
    if len(slow.runs) == len(fast.runs):
        return statistics.median(a / b for a, b in zip(slow.runs, fast.runs, strict=True))
    return slow.median / fast.median


def forward(function: Callable[..., object], *inputs: Tensor) -> Callable[[], object]:
    """Return a run of ``function`` without gradients."""

    def run() -> object:
        with torch.no_grad():
            return function(*inputs)

    return run


def training(function: Callable[..., Tensor], *inputs: Tensor) -> Callable[[], object]:
    """Return a run of ``function`` and its backward pass to inputs and parameters, with a random output gradient."""
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
