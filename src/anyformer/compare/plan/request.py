"""Arguments of a comparison that do not depend on the task, checked before any work."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch

from anyformer.compare.plan.budget import Budget
from anyformer.compare.plan.limits import read_bytes, read_latency
from anyformer.machine import available_cores
from anyformer.spelling import option

Hold = Literal["parameters", "flops"]
Equal = Literal["budget", "steps"]

FEWEST_SEEDS = 3


@dataclass(frozen=True)
class Request:
    """Checked arguments of a comparison that do not depend on the task."""

    budget: Budget
    budget_text: str
    hold: Hold
    equal: Equal
    seeds: int
    workers: int
    threads: int
    parameters: int | None
    batch_size: int | None
    refit: bool = True
    max_latency: str | None = None
    max_bytes: str | None = None


def check_request(
    *,
    budget: str | float,
    hold: str,
    equal: str,
    seeds: int,
    workers: int | None,
    parameters: int | None,
    batch_size: int | None,
    refit: bool = True,
    max_latency: str | float | None = None,
    max_bytes: str | float | None = None,
) -> Request:
    """Check the arguments that do not depend on the task, and fill in defaults.

    Raises:
        ValueError: if one is wrong; the message names it, what was expected and what came.
    """
    parsed = Budget.parse(budget)
    if hold not in ("parameters", "flops"):
        raise ValueError(f"{option('hold')} must be 'parameters' or 'flops', got {hold!r}")
    if equal not in ("budget", "steps"):
        raise ValueError(f"{option('equal')} must be 'budget' or 'steps', got {equal!r}")
    if seeds < FEWEST_SEEDS:
        raise ValueError(
            f"{option('seeds')} must be at least {FEWEST_SEEDS}, or nothing can be said about chance; got {seeds}"
        )
    cores = available_cores()
    if workers is None:
        workers = 1 if torch.cuda.is_available() else min(cores, 8)
    for name, value in (("workers", workers), ("parameters", parameters), ("batch_size", batch_size)):
        if value is not None and value < 1:
            raise ValueError(f"{option(name)} must be at least 1, got {value}")
    if max_latency is not None:
        read_latency(max_latency)
    if max_bytes is not None:
        read_bytes(max_bytes)
    limits = [None if limit is None else str(limit) for limit in (max_latency, max_bytes)]
    text = f"{budget:g}s" if isinstance(budget, (int, float)) else str(budget)
    threads = threads_for(workers)
    return Request(
        parsed,
        text,
        hold,  # type: ignore[arg-type]
        equal,  # type: ignore[arg-type]
        seeds,
        workers,
        threads,
        parameters,
        batch_size,
        refit,
        *limits,
    )


def threads_for(workers: int) -> int:
    """Return the threads of each worker: its share of the cores, or ``OMP_NUM_THREADS`` if that is less."""
    return max(1, min(available_cores() // workers, torch.get_num_threads()))
