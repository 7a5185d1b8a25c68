"""The benchmark: ops against the machine's limit, ours against other libraries, mixers against attention.

>>> from anyformer.bench import run_suites
>>> run_suites(["ops"]).write(Path("bench.md"))
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import NamedTuple

import torch

from anyformer.bench.growth import bench_growth, bench_memory
from anyformer.bench.machine import Ceilings, describe_machine, measure_ceilings
from anyformer.bench.mixers import bench_mixers, mixers_table
from anyformer.bench.models import bench_decoding, bench_training
from anyformer.bench.ops import bench_ops
from anyformer.bench.peers import bench_peers, crossover
from anyformer.bench.report import BenchTable, LogPlot, Page
from anyformer.registry import nearest
from anyformer.train.memory import keep_freed_memory

__all__ = ["SUITES", "BenchTable", "LogPlot", "Page", "bench_mixers", "run_suites"]

Progress = Callable[[str], None]


def run_suites(
    suites: Sequence[str] | None = None,
    *,
    command: str = "anyformer bench",
    progress: Progress = lambda text: None,
    device: str = "cpu",
) -> Page:
    """Run suites by name; by default all that measure ``device``, which takes about ten minutes.

    A suite that raises is reported on the page, and the others go on.

    Raises:
        ValueError: for an unknown suite, or for one that measures only the CPU where ``device`` is another.
    """
    here = [name for name, suite in SUITES.items() if device == "cpu" or not suite.of_the_cpu]
    chosen = list(suites) if suites else here
    for name in chosen:
        if name not in SUITES:
            raise ValueError(f"unknown suite {name!r}{nearest(name, list(SUITES))}")
        if name not in here:
            raise ValueError(f"suite {name!r} measures the CPU; on {device} there are {', '.join(here)}")
    with nullcontext() if device == "cpu" else torch.device(device):
        page = Page(describe_machine(), command)
        for name, suite in SUITES.items():
            if name in chosen:
                try:
                    suite.run(page, progress)
                except Exception as error:  # the minutes spent on the other suites must not be lost with it
                    page.failed[name] = f"{type(error).__name__}: {error}"
    return page


def _peers(page: Page, progress: Progress) -> None:
    table = bench_peers(progress)
    page.tables.append(table)
    words, plot = crossover(progress)
    table.note = f"{table.note} {words}".strip()
    page.plots.append(plot)


def _training(page: Page, progress: Progress) -> None:
    page.tables.append(bench_training(progress))


def _decoding(page: Page, progress: Progress) -> None:
    page.tables += bench_decoding(progress=progress)


def _memory(page: Page, progress: Progress) -> None:
    page.tables.append(bench_memory(progress))


def _ops(page: Page, progress: Progress) -> None:
    keep_freed_memory()  # as `train` and `compare` do
    progress("the machine's limits")
    ceilings = measure_ceilings()
    page.tables += [_limits(ceilings), bench_ops(ceilings, progress=progress)]


def _growth(page: Page, progress: Progress) -> None:
    keep_freed_memory()
    table, plot = bench_growth(progress=progress)
    page.tables.append(table)
    page.plots.append(plot)


def _mixers(page: Page, progress: Progress) -> None:
    keep_freed_memory()
    page.tables.append(mixers_table(bench_mixers(progress=progress)))


class Suite(NamedTuple):
    """A part of the benchmark.

    Attributes:
        words: its description for ``--help``.
        run: measures, and adds tables and plots to a page.
        of_the_cpu: True if it measures only the CPU.
    """

    words: str
    run: Callable[[Page, Progress], None]
    of_the_cpu: bool = False


SUITES = {
    "peers": Suite("ours beside other implementations, and the crossover with dense attention", _peers),
    "training": Suite("a training step of a Llama shape beside other libraries'", _training),
    "decoding": Suite("one more token after short and long contexts", _decoding),
    "memory": Suite("peak memory of training steps", _memory, of_the_cpu=True),
    "ops": Suite("each op against the machine's limit", _ops, of_the_cpu=True),
    "growth": Suite("time from 2,048 to 65,536 tokens", _growth),
    "mixers": Suite("every causal mixer beside softmax attention", _mixers),
}
"""Suites in the order in which they run. Those that keep freed memory, a setting of the whole process, come last."""


def _limits(ceilings: Ceilings) -> BenchTable:
    table = BenchTable("What this machine can do", ("limit", "rate"))
    table.add("matrix products, float32", f"{ceilings.matmul / 1e12:.3g} TFLOP/s")
    table.add("matrix products, bfloat16", f"{ceilings.matmul_bfloat16 / 1e12:.3g} TFLOP/s")
    table.add("memory traffic, arrays larger than the caches", f"{ceilings.memory / 1e9:.3g} GB/s")
    table.add("exponentials, float32, in the first cache", f"{ceilings.exponentials / 1e9:.3g} G/s")
    return table
