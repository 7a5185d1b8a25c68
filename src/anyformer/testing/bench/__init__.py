"""The benchmark: ops against the machine's limit, ours against other libraries, mixers against attention.

>>> from anyformer.testing.bench import run_suites
>>> run_suites(["ops"]).write(Path("bench.md"))
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from anyformer.registry import nearest
from anyformer.testing.bench.growth import bench_growth, bench_memory
from anyformer.testing.bench.machine import Ceilings, describe_machine, measure_ceilings
from anyformer.testing.bench.mixers import bench_mixers, mixers_table
from anyformer.testing.bench.models import bench_decoding, bench_training
from anyformer.testing.bench.ops import bench_ops
from anyformer.testing.bench.peers import bench_peers, crossover
from anyformer.testing.bench.report import Page, Plot, Table
from anyformer.train.memory import keep_freed_memory

__all__ = ["SUITES", "Page", "Plot", "Table", "bench_mixers", "run_suites"]

Progress = Callable[[str], None]
SUITES: dict[str, str] = {
    "mixers": "every causal mixer beside softmax attention",
    "ops": "each op against the machine's limit",
    "peers": "ours beside other implementations, and the crossover with dense attention",
    "training": "a training step of a Llama shape beside other libraries'",
    "decoding": "one more token after short and long contexts",
    "growth": "time from 2,048 to 65,536 tokens",
    "memory": "peak memory of training steps",
}
OF_THE_CPU = ("ops", "memory")
"""Suites that hold against the CPU's limits, or read a process's memory."""


def run_suites(
    suites: Sequence[str] | None = None,
    *,
    command: str = "anyformer bench",
    progress: Progress = lambda text: None,
    device: str = "cpu",
) -> Page:
    """Run suites by name, by default all (about ten minutes) that the device has.

    Raises:
        ValueError: for an unknown suite, or one that measures the CPU where another device is asked for.
    """
    here = [name for name in SUITES if device == "cpu" or name not in OF_THE_CPU]
    chosen = list(suites) if suites else here
    for name in chosen:
        if name not in SUITES:
            raise ValueError(f"unknown suite {name!r}{nearest(name, list(SUITES))}")
        if name not in here:
            raise ValueError(f"suite {name!r} measures the CPU; on {device} there are {', '.join(here)}")
    with torch.device(device):
        return _run(chosen, Page(describe_machine(), command), progress)


def _run(chosen: Sequence[str], page: Page, progress: Progress) -> Page:
    for name, step in _STEPS.items():
        if name == "ops":
            keep_freed_memory()  # as `train` and `compare` do, for what follows
        if name in chosen:
            try:
                step(page, progress)
            except Exception as error:  # what others have found over minutes is not lost with it
                page.failed[name] = f"{type(error).__name__}: {error}"
    return page


def _peers(page: Page, progress: Progress) -> None:
    page.tables.append(bench_peers(progress))
    words, plot = crossover(progress)
    page.tables[-1].note = f"{page.tables[-1].note} {words}".strip()
    page.plots.append(plot)


def _training(page: Page, progress: Progress) -> None:
    page.tables.append(bench_training(progress))


def _decoding(page: Page, progress: Progress) -> None:
    page.tables += bench_decoding(progress=progress)


def _memory(page: Page, progress: Progress) -> None:
    page.tables.append(bench_memory(progress))


def _ops(page: Page, progress: Progress) -> None:
    progress("the machine's limits")
    ceilings = measure_ceilings()
    page.tables += [_limits(ceilings), bench_ops(ceilings, progress=progress)]


def _growth(page: Page, progress: Progress) -> None:
    table, plot = bench_growth(progress=progress)
    page.tables.append(table)
    page.plots.append(plot)


def _mixers(page: Page, progress: Progress) -> None:
    page.tables.append(mixers_table(bench_mixers(progress=progress)))


_STEPS: dict[str, Callable[[Page, Progress], None]] = {
    "peers": _peers,
    "training": _training,
    "decoding": _decoding,
    "memory": _memory,
    "ops": _ops,
    "growth": _growth,
    "mixers": _mixers,
}
"""The suites in the order in which they run."""


def _limits(ceilings: Ceilings) -> Table:
    table = Table("What this machine can do", ("limit", "rate"))
    table.add("matrix products, float32", f"{ceilings.matmul / 1e12:.3g} TFLOP/s")
    table.add("matrix products, bfloat16", f"{ceilings.matmul_bfloat16 / 1e12:.3g} TFLOP/s")
    table.add("memory traffic, arrays larger than the caches", f"{ceilings.memory / 1e9:.3g} GB/s")
    table.add("exponentials, float32, in the first cache", f"{ceilings.exponentials / 1e9:.3g} G/s")
    return table
