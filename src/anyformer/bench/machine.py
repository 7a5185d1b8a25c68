"""Limits of this machine, measured: matrix products, memory traffic, exponentials."""

from __future__ import annotations

import platform
from collections.abc import Callable
from dataclasses import dataclass

import torch

from anyformer.bench.timing import timed
from anyformer.machine import processor_name
from anyformer.ops import native_exponential, native_status


@dataclass(frozen=True)
class Ceilings:
    """Highest rates of this machine, each the best of several runs with all threads.

    Attributes:
        matmul: FLOP/s in float32 products of square matrices.
        matmul_bfloat16: FLOP/s likewise in bfloat16.
        memory: bytes/s read and written, adding two arrays larger than the caches into a third.
        exponentials: exponentials/s of float32 numbers that stay in the first-level cache.
    """

    matmul: float
    matmul_bfloat16: float
    memory: float
    exponentials: float

    def seconds(self, *, flops: float = 0, bytes_: float = 0, exponentials: float = 0) -> tuple[float, str]:
        """Return the least seconds that this much work takes here, and the name of the limit that sets them."""
        limits = {
            "matrix products": flops / self.matmul,
            "memory": bytes_ / self.memory,
            "exponentials": exponentials / self.exponentials,
        }
        name = max(limits, key=lambda key: limits[key])
        return limits[name], name


def measure_ceilings() -> Ceilings:
    """Measure this machine, in a few seconds."""
    return Ceilings(
        matmul=_matmul(torch.float32),
        matmul_bfloat16=_matmul(torch.bfloat16),
        memory=_memory(),
        exponentials=_exponentials(),
    )


def _best(run: Callable[[], object], repeats: int = 7) -> float:
    """Return the seconds of the fastest run, after one that is not counted."""
    run()
    return min(timed(run) for _ in range(repeats))


def _matmul(dtype: torch.dtype, n: int = 2048) -> float:
    a, b = torch.randn(n, n, dtype=dtype), torch.randn(n, n, dtype=dtype)
    out = torch.empty(n, n, dtype=dtype)
    return 2 * n**3 / _best(lambda: torch.mm(a, b, out=out))


def _memory(n: int = 1 << 26) -> float:
    a, b, out = torch.randn(n), torch.randn(n), torch.zeros(n)
    return 3 * 4 * n / _best(lambda: torch.add(a, b, out=out))


def _exponentials(rows: int = 4096, n: int = 4096) -> float:
    """Return the better rate of our kernel and PyTorch; each thread computes its own row again and again."""
    x, out = torch.randn(n), torch.empty(torch.get_num_threads(), n)
    rates = []
    if native_status().library is not None:
        rates.append(rows * n / _best(lambda: native_exponential(x, out, rows)))
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        seconds = _best(lambda: [torch.exp(x, out=out[0]) for _ in range(64)])
    finally:
        torch.set_num_threads(threads)
    return max([*rates, threads * 64 * n / seconds])


def describe_machine() -> str:
    """Return one line that names the processor, threads, versions and kernels that were measured."""
    processor = processor_name()
    native = native_status()
    gpu = f"{torch.cuda.get_device_name()}, beside " if torch.get_default_device().type == "cuda" else ""
    threads = torch.get_num_threads()
    return (
        f"{gpu}{processor}, {threads} thread{'s' if threads != 1 else ''}, {platform.system()}, "
        f"Python {platform.python_version()}, torch {torch.__version__} "
        f"({torch.backends.cpu.get_cpu_capability()}), {native.reason}."
    )
