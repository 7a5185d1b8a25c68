"""The machine on which a comparison runs, and other programs that slowed it down."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from statistics import median_low

import torch

from anyformer.compare.plan.schema import Plan
from anyformer.compare.results import Machine
from anyformer.machine import available_cores, processor_name

SLOWER = 1.5
"""Factor above the fastest steps of the same model from which steps count as disturbed."""


def describe_disturbance(paces: Sequence[Sequence[float]], load: float, own: int) -> str:
    """Return a sentence about other programs that slowed the comparison down; "" if there were none.

    They slow down all candidates; one alone may be slower at first by itself, as it reads a series for the first time.

    Args:
        paces: for each candidate, all measured seconds of a training step.
        load: highest load average of the system during the comparison.
        own: threads of the comparison.
    """
    cores = os.cpu_count() or 1
    times = median_low([max(mine) / min(mine) for mine in paces if mine] or [1.0])
    others = load - own
    told = []
    if times >= SLOWER:
        told.append(f"steps took up to {times:.1f} times as long as at their fastest")
    if others >= max(1.0, cores / 4):
        told.append(f"its load went up to {load:.1f}, of which this comparison made at most {own}")
    return f"The machine was busy with something else: {', and '.join(told)}." if told else ""


def system_load() -> float:
    """Return the load average of the last minute, or 0 on systems without one."""
    try:
        return os.getloadavg()[0]
    except (AttributeError, OSError):
        return 0.0


def describe_machine(plan: Plan) -> Machine:
    """Return the facts about the machine that belong in the results."""
    import anyformer

    cuda = torch.cuda.is_available()
    return Machine(
        system=f"{platform.system()} {platform.release()}",
        processor=processor_name(),
        cores=available_cores(),
        workers=plan.workers,
        threads=plan.threads,
        device=torch.cuda.get_device_name() if cuda else "CPU",
        python=platform.python_version(),
        versions={"anyformer": anyformer.__version__, "torch": torch.__version__},
    )
