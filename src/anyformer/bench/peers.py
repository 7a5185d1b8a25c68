"""Computations of ours beside the same ones in other libraries, where those are installed."""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid, normalize, scaled_dot_product_attention

from anyformer.bench.report import BenchTable, LogPlot
from anyformer.bench.timing import alternate, forward, ratio, seeded, training
from anyformer.mixers import create_mixer
from anyformer.ops.delta_rule import delta_rule
from anyformer.ops.linear_attention import linear_attention
from anyformer.ops.masks import Window
from anyformer.ops.softmax_scan import softmax_scan
from anyformer.ops.sparse_attention import sparse_attention

Function = Callable[..., Tensor]
OURS = "anyformer"


@dataclass(frozen=True)
class Duel:
    """One computation, in our implementation and in others.

    Attributes:
        what: the computation and its size, in words.
        inputs: the arguments of every implementation.
        ours: our implementation.
        theirs: makers of the others, by name; a maker raises ``ImportError`` if its library is not installed.
        modes: what is timed: ``forward``, ``training`` (forward and backward), or both.
    """

    what: str
    inputs: tuple[Tensor, ...]
    ours: Function
    theirs: dict[str, Callable[[], Function]]
    modes: tuple[str, ...] = ("forward", "training")


MODES = {"forward": forward, "training": training}


def bench_peers(progress: Callable[[str], None] = lambda text: None) -> BenchTable:
    """Run every duel; the table's note names the libraries that are not installed."""
    table = BenchTable(
        "Against other implementations",
        ("what", "which", "ours, ms", "theirs", "ms", "times as long"),
    )
    missing = set()
    for duel in duels():
        progress(duel.what)
        functions = {OURS: duel.ours}
        for name, make in duel.theirs.items():
            try:
                functions[name] = make()
            except ImportError:
                missing.add(name)
        for mode in duel.modes:
            times = alternate({name: MODES[mode](f, *duel.inputs) for name, f in functions.items()})
            for name in list(functions)[1:]:
                slower = ratio(times[name], times[OURS])
                table.add(duel.what, mode, times[OURS], name, times[name], f"{slower:.3g}")
    table.note = f"Not installed, so left out: {', '.join(sorted(missing))}." if missing else ""
    return table


def duels() -> Iterator[Duel]:
    """Yield every duel, each made only when its turn comes."""
    random = seeded()
    yield _mamba(4096, ("forward",), random)
    yield _mamba(1024, ("training",), random)
    yield _wkv(random)
    yield _retention(random)
    yield _delta(random)
    yield _window(random)
    yield from _naive(random)
    yield _recurrent(random)


def _mamba(length: int, modes: tuple[str, ...], random: torch.Generator, dim: int = 512) -> Duel:
    def transformers() -> Function:
        from transformers import MambaConfig
        from transformers.models.mamba.modeling_mamba import MambaMixer

        return MambaMixer(MambaConfig(hidden_size=dim, state_size=16), layer_idx=0)

    def mambapy() -> Function:
        from mambapy.mamba import MambaBlock, MambaConfig

        return MambaBlock(MambaConfig(d_model=dim, n_layers=1, d_state=16))

    x = torch.randn(1, length, dim, generator=random)
    what = f"Mamba mixer, width {dim}, state 16, {length} tokens"
    theirs: dict[str, Callable[[], Function]] = {"transformers": transformers, "mambapy": mambapy}
    return Duel(what, (x,), create_mixer("mamba", dim), theirs, modes)


def _wkv(random: torch.Generator, length: int = 1024, dim: int = 512) -> Duel:
    decay, bonus = torch.randn(dim, generator=random), torch.randn(dim, generator=random)
    k, v = (torch.randn(1, length, dim, generator=random) for _ in range(2))

    def ours(decay: Tensor, bonus: Tensor, k: Tensor, v: Tensor) -> Tensor:
        # theirs reads the state before it decays, which the bonus makes up for
        slower = -decay.exp()
        return softmax_scan(k[:, None], v[:, None], slower[None], bonus=(bonus + slower)[None])[0].squeeze(1)

    def transformers() -> Function:
        from transformers.models.rwkv.modeling_rwkv import rwkv_linear_attention_cpu

        def theirs(decay: Tensor, bonus: Tensor, k: Tensor, v: Tensor) -> Tensor:
            return rwkv_linear_attention_cpu(decay, bonus, k, v)[0]

        return theirs

    return Duel(
        f"RWKV-4 wkv, width {dim}, {length} tokens",
        (decay, bonus, k, v),
        ours,
        {"transformers": transformers},
    )


def dense(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Return PyTorch's causal attention of q, k, v (B, H, T, K)."""
    return scaled_dot_product_attention(q, k, v, is_causal=True)


def heads(length: int, random: torch.Generator, count: int = 3) -> tuple[Tensor, ...]:
    """Return ``count`` random tensors (1, 8, length, 64): queries, keys, values, ..."""
    return tuple(torch.randn(1, 8, length, 64, generator=random) for _ in range(count))


def retention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Return the core of retention: linear attention with a constant decay for each head."""
    return linear_attention(q, k / 8, v, log_decay=(1 - 2.0 ** (-5 - torch.arange(8.0))).log())[0]


def _retention(random: torch.Generator, length: int = 16384) -> Duel:
    what = f"Retention's core, 8 heads of 64, {length} tokens"
    return Duel(
        what, heads(length, random), retention, {"dense attention (torch)": lambda: dense}, ("training",)
    )


def _delta(random: torch.Generator, length: int = 16384) -> Duel:
    q, k, v = heads(length, random)
    beta = torch.rand(1, 8, length, generator=random)

    def ours(q: Tensor, k: Tensor, v: Tensor, beta: Tensor) -> Tensor:
        return delta_rule(q, k, v, beta)[0]

    def other() -> Function:
        return lambda q, k, v, beta: retention(q, k, v)

    what = f"Delta rule, 8 heads of 64, {length} tokens"
    theirs: dict[str, Callable[[], Function]] = {"our own retention core": other}
    return Duel(what, (q, normalize(k, dim=-1), v, beta), ours, theirs, ("training",))


def _window(random: torch.Generator, length: int = 16384, width: int = 256) -> Duel:
    spec = Window(width - 1, 0)

    def ours(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return sparse_attention(q, k, v, spec)

    what = f"Window attention, {width} of {length} tokens, 8 heads of 64"
    return Duel(what, heads(length, random), ours, {"dense attention (torch)": lambda: dense}, ("training",))


def _naive(random: torch.Generator, length: int = 1024) -> Iterator[Duel]:
    """Yield duels with the reference functions of flash-linear-attention, in plain PyTorch."""

    def reference(op: str, name: str) -> Any:
        return getattr(importlib.import_module(f"fla.ops.{op}.naive"), name)

    q, k, v = heads(length, random)
    yield Duel(
        f"Retention's core, {length} tokens",
        (q, k, v),
        retention,
        {"fla (naive, all pairs)": lambda: reference("retention", "naive_retention")},
    )
    decay = logsigmoid(torch.randn(1, 8, length, 64, generator=random) + 4)

    def gated() -> Function:
        naive = reference("gla", "naive_recurrent_gla")
        return lambda *parts: naive(*(x.transpose(1, 2) for x in parts))[0].transpose(1, 2)

    yield Duel(
        f"Gated linear attention, {length} tokens",
        (q, k, v, decay),
        lambda q, k, v, decay: linear_attention(q, k, v, log_decay=decay, scale=1 / 8)[0],
        {"fla (naive, loop)": gated},
    )
    beta = torch.rand(1, 8, length, generator=random)

    def delta() -> Function:
        naive = reference("delta_rule", "delta_rule_recurrence")
        return lambda q, k, v, beta: naive(q, k, v, beta)[0]

    yield Duel(
        f"Delta rule, {length} tokens",
        (q, normalize(k, dim=-1), v, beta),
        lambda q, k, v, beta: delta_rule(q / 8, k, v, beta)[0],
        {"fla (naive, loop)": delta},
    )


def _recurrent(random: torch.Generator, length: int = 1024, dim: int = 512) -> Duel:
    class First(nn.Module):
        """A recurrent network that returns its outputs without its state."""

        def __init__(self, network: nn.Module) -> None:
            super().__init__()
            self.network = network

        def forward(self, x: Tensor) -> Tensor:
            """Return the outputs (B, T, D)."""
            y: Tensor = self.network(x)[0]
            return y

    theirs: dict[str, Callable[[], Function]] = {
        "GRU (torch)": lambda: First(nn.GRU(dim, dim, batch_first=True)),
        "LSTM (torch)": lambda: First(nn.LSTM(dim, dim, batch_first=True)),
    }
    x = torch.randn(1, length, dim, generator=random)
    return Duel(f"Mamba mixer, width {dim}, {length} tokens", (x,), create_mixer("mamba", dim), theirs)


def crossover(progress: Callable[[str], None] = lambda text: None) -> tuple[str, LogPlot]:
    """Find the length from which on each efficient op trains faster than dense attention; in words, and as curves."""
    random = seeded()
    spec = Window(255, 0)
    functions: dict[str, Function] = {
        "dense attention (torch)": dense,
        "retention": retention,
        "delta rule": lambda q, k, v: delta_rule(q, normalize(k, dim=-1), v, torch.ones_like(q[..., 0]))[0],
        "window attention, 256": lambda q, k, v: sparse_attention(q, k, v, spec),
    }
    plot = LogPlot(
        "crossover", "Forward and backward, 8 heads of 64", "tokens", "ms", {name: [] for name in functions}
    )
    for length in (64, 128, 256, 512, 1024, 2048, 4096, 8192):
        progress(f"crossover at {length}")
        inputs = heads(length, random)
        times = alternate({name: training(f, *inputs) for name, f in functions.items()}, seconds=2)
        for name, found in times.items():
            plot.curves[name].append((length, 1000 * found.median))
    words = [
        f"{name} is {_crossing(curve, plot.curves['dense attention (torch)'])}"
        for name, curve in plot.curves.items()
        if not name.startswith("dense")
    ]
    return "Training at 8 heads of 64: " + "; ".join(words) + ".", plot


def _crossing(curve: list[tuple[float, float]], base: list[tuple[float, float]]) -> str:
    """Say from which length on the curve stays below ``base``, interpolating linearly between logarithms."""
    gaps = [math.log(y / z) for (_, y), (_, z) in zip(curve, base, strict=True)]
    above = [i for i, gap in enumerate(gaps) if gap >= 0]
    if not above:
        return f"faster than dense attention from {curve[0][0]:.0f} tokens or fewer"
    last = above[-1]
    if last == len(curve) - 1:
        return f"slower than dense attention up to {curve[-1][0]:.0f} tokens"
    share = gaps[last] / (gaps[last] - gaps[last + 1])
    crossing = 2 ** (math.log2(curve[last][0]) + share)
    return f"faster than dense attention from about {crossing:.0f} tokens"
