"""Growth of time and memory with the sequence length."""

from __future__ import annotations

import math
import multiprocessing
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from anyformer.bench.mixers import build
from anyformer.bench.peers import heads, retention
from anyformer.bench.report import BenchTable, LogPlot
from anyformer.bench.timing import forward, milliseconds, seeded, timed, training
from anyformer.mixers import create_mixer, mixers
from anyformer.ops.masks import Window
from anyformer.ops.sparse_attention import sparse_attention
from anyformer.parts import part_info
from anyformer.train.memory import return_freed_memory

LENGTHS = (2048, 8192, 32768, 65536)
LIMIT = 1.1
"""The largest exponent of the length at which a cost still counts as linear."""


def linear_names() -> list[str]:
    """Return the ids of mixers that declare a cost linear in the length, and need no second sequence or side inputs."""
    names = []
    for entry in mixers:
        info = part_info(mixers, entry.id, entry.examples[0])
        if info.cost == "n" and not info.context and not info.required:
            names.append(entry.id)
    return names


def bench_growth(
    names: Sequence[str] | None = None,
    *,
    dim: int = 64,
    lengths: Sequence[int] = LENGTHS,
    progress: Callable[[str], None] = lambda text: None,
) -> tuple[BenchTable, LogPlot]:
    """Time mixers of linear cost at growing lengths; the exponent is taken between the first and the last length."""
    table = BenchTable(
        "Growth with the length",
        ("mixer", *(f"training at {n}, ms" for n in lengths), "exponent, forward", "exponent, training"),
        note=f"Width {dim}, batch 1. Time grows like length^exponent between the first and the last length; a cost "
        f"that is called linear must stay within {LIMIT}.",
    )
    plot = LogPlot("growth", f"Forward and backward, width {dim}", "tokens", "ms")
    for name in names or linear_names():
        progress(f"{name} up to {lengths[-1]} tokens")
        return_freed_memory()  # the memory that earlier mixers freed is fragmented
        times: dict[str, list[float]] = {"forward": [], "training": []}
        for length in lengths:
            mixer = build(name, dim, lengths[-1])
            x = torch.randn(1, length, dim)
            for mode, runner in (("forward", forward), ("training", training)):
                run = runner(mixer, x)
                timed(run)
                times[mode].append(statistics.median(timed(run) for _ in range(7 if length < 10000 else 3)))
        plot.curves[name] = list(zip(lengths, (1000 * s for s in times["training"]), strict=True))
        slopes = (exponent(lengths, times[mode]) for mode in ("forward", "training"))
        table.add(name, *(milliseconds(s) for s in times["training"]), *(f"{slope:.2f}" for slope in slopes))
    return table, plot


def exponent(lengths: Sequence[int], seconds: Sequence[float]) -> float:
    """Return p for times that grow as length ** p between the first and the last length."""
    return math.log(seconds[-1] / seconds[0]) / math.log(lengths[-1] / lengths[0])


def bench_memory(progress: Callable[[str], None] = lambda text: None) -> BenchTable:
    """Measure the peak memory of training steps in bytes, each in a fresh process, beyond what that held before."""
    table = BenchTable(
        "Peak memory of forward and backward",
        ("what", *(f"{n} tokens, MB" for n in MEMORY_LENGTHS), "exponent"),
        note="Growth of the resident set of a fresh process beyond its inputs.",
    )
    context = multiprocessing.get_context("spawn")
    for what in MEMORY:
        progress(f"memory of {what}")
        found = []
        for length in MEMORY_LENGTHS:
            with context.Pool(1) as pool:
                found.append(pool.apply(_peak, (what, length)))
        table.add(what, *(f"{b / 1e6:,.0f}" for b in found), f"{exponent(MEMORY_LENGTHS, found):.2f}")
    return table


MEMORY_LENGTHS = (8192, 16384, 32768)


def _mamba(length: int) -> Callable[[], object]:
    return training(create_mixer("mamba", 512), torch.randn(1, length, 512))


def _window(length: int) -> Callable[[], object]:
    inputs = heads(length, seeded())
    return training(lambda q, k, v: sparse_attention(q, k, v, Window(255, 0)), *inputs)


def _retention(length: int) -> Callable[[], object]:
    return training(retention, *heads(length, seeded()))


MEMORY = {
    "Mamba mixer, width 512, state 16": _mamba,
    "window attention, 256, 8 heads of 64": _window,
    "retention's core, 8 heads of 64": _retention,
}


def _peak(what: str, length: int) -> int:
    """Return the peak growth of the resident set in bytes; a short run before it loads code and fills caches."""
    if not Path("/proc/self/clear_refs").exists():
        raise ValueError("the memory suite needs Linux")
    MEMORY[what](64)()
    run = MEMORY[what](length)
    Path("/proc/self/clear_refs").write_text("5")  # resets the peak to the current resident set
    before = _peak_resident()
    run()
    return _peak_resident() - before


def _peak_resident() -> int:
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
