"""Times of mixers on this machine, as ratios to softmax attention measured in the same process."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from anyformer.bench.report import BenchTable
from anyformer.bench.timing import milliseconds, seeded, timed
from anyformer.contract import Mixer
from anyformer.mixers import create_mixer, forms, mixer_info, mixers
from anyformer.parts import option_names

BASELINE = "attention"


@dataclass(frozen=True)
class Timing:
    """Times of one mixer at one length: medians of alternating runs in seconds, and their ratios to attention."""

    mixer: str
    length: int
    forward: float
    training: float
    ratio_forward: float
    ratio_training: float
    spread: float
    """Quartile distance of the training ratio, divided by its median."""


def bench_mixers(
    names: Sequence[str] | None = None,
    *,
    dim: int = 128,
    lengths: Sequence[int] = (512, 2048),
    batch_size: int = 1,
    repeats: int = 7,
    progress: Callable[[str], None] = lambda text: None,
) -> list[Timing]:
    """Time the forward pass, and forward with backward, of mixers in their default form.

    Each repeat times the mixer and softmax attention directly after one another, so that a change of the machine's
    speed falls on both; ratios are medians over the repeats. A mixer is left out at lengths beyond its maximum.

    Args:
        names: mixers; by default every one that can be causal.
        dim: width D.
        lengths: tokens T.
        batch_size: B.
        repeats: timed runs.
        progress: called with a line of text before each measurement.

    Raises:
        ValueError: for an unknown mixer, or fewer than 3 repeats.
    """
    if repeats < 3:
        raise ValueError(f"repeats must be at least 3, got {repeats}")
    chosen = list(names) if names else default_names()
    found = []
    for name in chosen:
        for length in lengths:
            longest = build(name, dim, length).info.max_length
            if longest is None or longest >= length:
                progress(f"{name} at {length}")
                found.append(_compare(name, dim, length, batch_size, repeats))
    return found


def default_names() -> list[str]:
    """Return the ids of mixers that can be causal and need neither a second sequence nor side inputs."""
    return [id for id in mixers.ids() if True in forms(id) and not mixer_info(id).required]


def build(name: str, dim: int, length: int) -> Mixer:
    """Make a mixer with default options that takes the length; bidirectional where it cannot be causal."""
    torch.manual_seed(0)
    options: dict[str, object] = {} if True in forms(name) else {"causal": False}
    if "max_length" in option_names(mixers, name):
        options["max_length"] = max(length, 64)
    return create_mixer(name, dim, **options)


def _compare(name: str, dim: int, length: int, batch_size: int, repeats: int) -> Timing:
    x = torch.randn(batch_size, length, dim, generator=seeded()).requires_grad_()
    mixer, baseline = build(name, dim, length), build(BASELINE, dim, length)
    times: dict[str, list[float]] = {"forward": [], "training": [], "forward base": [], "training base": []}
    for repeat in range(repeats + 1):
        for which, module in (("", mixer), (" base", baseline)):
            with torch.no_grad():
                forward = timed(lambda module=module: module(x))  # type: ignore[misc]
            training = timed(lambda module=module: module(x).square().mean().backward())  # type: ignore[misc]
            if repeat:  # the first is a warm-up
                times[f"forward{which}"].append(forward)
                times[f"training{which}"].append(training)
    ratio = {
        k: [a / b for a, b in zip(times[k], times[f"{k} base"], strict=True)] for k in ("forward", "training")
    }
    low, middle, high = statistics.quantiles(ratio["training"], n=4)
    return Timing(
        name,
        length,
        statistics.median(times["forward"]),
        statistics.median(times["training"]),
        statistics.median(ratio["forward"]),
        statistics.median(ratio["training"]),
        (high - low) / middle,
    )


def mixers_table(timings: Sequence[Timing], dim: int = 128) -> BenchTable:
    """Return the timings as a table."""
    table = BenchTable(
        "Mixers beside softmax attention",
        ("mixer", "tokens", "forward, ms", "x attention", "training, ms", "x attention", "quartile spread"),
        note=f"Width {dim}, batch 1, float32. Ratios to softmax attention of the same run; training is forward and "
        "backward.",
    )
    for t in timings:
        table.add(
            t.mixer,
            t.length,
            milliseconds(t.forward),
            f"{t.ratio_forward:.2f}",
            milliseconds(t.training),
            f"{t.ratio_training:.2f}",
            f"{t.spread:.0%}",
        )
    return table
