"""Each op beside the least time that this machine allows for its work."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid, normalize

from anyformer.bench.machine import Ceilings
from anyformer.bench.report import BenchTable
from anyformer.bench.timing import alternate, forward, milliseconds, training
from anyformer.ops import load_all
from anyformer.ops.masks import Window
from anyformer.registry import nearest


@dataclass(frozen=True)
class Work:
    """An op at one size.

    Attributes:
        op: its name.
        size: its size, in words.
        args: its tensor arguments, all of which get gradients.
        options: its keyword arguments.
        exponentials: the number that a forward pass needs at least; a backward pass needs as many again.
    """

    op: str
    size: str
    args: tuple[Tensor, ...]
    options: dict[str, Any] = field(default_factory=dict)
    exponentials: int = 0


COLUMNS = (
    "op",
    "size",
    "forward, ms",
    "limit, ms",
    "of the limit",
    "training, ms",
    "limit, ms",
    "of the limit",
    "set by",
)


def bench_ops(
    ceilings: Ceilings,
    names: Sequence[str] | None = None,
    progress: Callable[[str], None] = lambda text: None,
) -> BenchTable:
    """Time each op, and divide the least possible time (the limit) by it.

    The limit is the largest of three times: of its FLOPs at the rate of a large matrix product, of reading its
    inputs and writing its outputs once, and of its exponentials. Training counts three times the FLOPs and the
    memory traffic (inputs and outputs are read again in the backward pass, where as many gradients pass), and twice
    the exponentials.

    Raises:
        ValueError: for an op that is not benchmarked.
    """
    table = BenchTable(
        "Ops against the machine's limit",
        COLUMNS,
        note="The limit is what the slowest of matrix products, memory traffic and exponentials would take alone, "
        "at the rates above. Freed memory is kept for the next allocation, as in `train` and `compare`, which other "
        "tables but the last two do not do.",
    )
    primitives = load_all()
    makers = {name: maker for name, maker in MAKERS.items() if not names or name in names}
    for name in names or ():
        if name not in MAKERS:
            raise ValueError(f"unknown op {name!r}{nearest(name, list(MAKERS))}")
    for name, make in makers.items():
        progress(name)
        work = make(torch.Generator().manual_seed(0))
        fast = primitives[work.op].fast

        def run(*args: Tensor, fast: Callable[..., Any] = fast, work: Work = work) -> Tensor:
            result = fast(*args, **work.options)
            return result if isinstance(result, Tensor) else result[0]

        times = alternate({"forward": forward(run, *work.args), "training": training(run, *work.args)})
        flops = primitives[work.op].flops(*work.args, **work.options)
        with torch.no_grad():
            moved = sum(x.nbytes for x in (*work.args, run(*work.args)))
        limit, cause = ceilings.seconds(flops=flops, bytes_=moved, exponentials=work.exponentials)
        training_limit, _ = ceilings.seconds(
            flops=3 * flops, bytes_=3 * moved, exponentials=2 * work.exponentials
        )
        table.add(
            name,
            work.size,
            str(times["forward"]),
            milliseconds(limit),
            f"{limit / times['forward'].median:.0%}",
            str(times["training"]),
            milliseconds(training_limit),
            f"{training_limit / times['training'].median:.0%}",
            cause,
        )
    return table


def _heads(random: torch.Generator, T: int, H: int = 8, K: int = 64, count: int = 3) -> tuple[Tensor, ...]:
    return tuple(torch.randn(1, H, T, K, generator=random) for _ in range(count))


def _scan(random: torch.Generator, T: int = 16384, N: int = 1024) -> Work:
    a, b = torch.rand(1, T, N, generator=random), torch.randn(1, T, N, generator=random)
    return Work("scan", f"T {T}, N {N}", (a, b))


def _selective_scan(random: torch.Generator, T: int = 4096, D: int = 1024, K: int = 16) -> Work:
    x, dt = torch.randn(1, T, D, generator=random).mT, torch.rand(1, T, D, generator=random).mT
    A = -torch.rand(D, K, generator=random)
    B_, C_ = (torch.randn(1, T, K, generator=random).mT for _ in range(2))
    return Work("selective_scan", f"T {T}, D {D}, K {K}", (x, dt, A, B_, C_), exponentials=T * D * K)


def _wkv(random: torch.Generator, T: int = 4096, D: int = 512) -> Work:
    scores, v = (torch.randn(1, 1, T, D, generator=random) for _ in range(2))
    decay, bonus = -torch.rand(1, D, generator=random), torch.randn(1, D, generator=random)

    # for every token and channel: two exponentials for the state, two for the output
    return Work("softmax_scan", f"T {T}, D {D} (RWKV's wkv)", (scores, v, decay), {"bonus": bonus}, 4 * T * D)


def _linear(random: torch.Generator, T: int = 4096) -> Work:
    q, k, v = _heads(random, T)
    decay = (1 - 2.0 ** (-5 - torch.arange(8.0))).log()
    return Work(
        "linear_attention", f"T {T}, 8 heads of 64, decay a head", (q, k / 8, v), {"log_decay": decay}
    )


def _gated(random: torch.Generator, T: int = 4096) -> Work:
    q, k, v, decay = _heads(random, T, count=4)
    options = {"log_decay": logsigmoid(decay + 4)}
    return Work("linear_attention", f"T {T}, 8 heads of 64, decay a channel", (q, k / 8, v), options)


def _delta(random: torch.Generator, T: int = 4096) -> Work:
    q, k, v = _heads(random, T)
    beta = torch.rand(1, 8, T, generator=random)
    return Work("delta_rule", f"T {T}, 8 heads of 64", (q, normalize(k, dim=-1), v, beta))


def _long_conv(random: torch.Generator, T: int = 4096, D: int = 512) -> Work:
    x, kernel = torch.randn(1, D, T, generator=random), torch.randn(D, T, generator=random)
    return Work("long_conv", f"T {T}, D {D}", (x, kernel))


def _attention(random: torch.Generator, T: int = 4096) -> Work:
    return Work("attention", f"T {T}, 8 heads of 64, causal", _heads(random, T), {"causal": True})


def _window(random: torch.Generator, T: int = 4096, past: int = 256) -> Work:
    size = f"T {T}, 8 heads of 64, window {past}"
    return Work("sparse_attention", size, _heads(random, T), {"spec": Window(past - 1, 0)})


MAKERS: dict[str, Callable[[torch.Generator], Work]] = {
    "scan": _scan,
    "selective_scan": _selective_scan,
    "softmax_scan": _wkv,
    "linear_attention": _linear,
    "linear_attention, vector decay": _gated,
    "delta_rule": _delta,
    "long_conv": _long_conv,
    "attention": _attention,
    "sparse_attention": _window,
}
"""Makers of the work that is timed, by the name of its row."""
