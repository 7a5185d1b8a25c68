"""The machine that a comparison runs on, and whether others kept it busy."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Sequence
from pathlib import Path
from statistics import median

import torch

from anyformer.compare.plan.schema import Plan
from anyformer.compare.results import Machine
from anyformer.machine import available_cores

SLOWER = 1.5
"""Steps that take so many times as long as the fastest ones of the same model have been disturbed."""


def describe_disturbance(paces: Sequence[Sequence[float]], load: float, own: int) -> str:
    """A sentence about who disturbed the comparison; empty where nobody did.

    Args:
        paces: for each candidate, the seconds of a step whenever they were measured.
        load: the highest load average of the system meanwhile.
        own: threads of the comparison.
    """
    cores = os.cpu_count() or 1
    times = median([max(mine) / min(mine) for mine in paces if mine] or [1.0])
    others = load - own
    told = []
    if times >= SLOWER:
        told.append(f"steps took up to {times:.1f} times as long as at their fastest")
    if others >= max(1.0, cores / 4):
        told.append(f"its load went up to {load:.1f}, of which this comparison made at most {own}")
    return f"The machine was busy with something else: {', and '.join(told)}." if told else ""


def system_load() -> float:
    """The load average of the last minute; 0 where the system knows none."""
    try:
        return os.getloadavg()[0]
    except (AttributeError, OSError):
        return 0.0


def describe_machine(plan: Plan) -> Machine:
    """Where this runs."""
    import anyformer

    cuda = torch.cuda.is_available()
    return Machine(
        system=f"{platform.system()} {platform.release()}",
        processor=_processor(),
        cores=available_cores(),
        workers=plan.workers,
        threads=plan.threads,
        device=torch.cuda.get_device_name() if cuda else "CPU",
        python=platform.python_version(),
        versions={"anyformer": anyformer.__version__, "torch": torch.__version__},
    )


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        found = re.search(r"model name\s*:\s*(.+)", info.read_text(encoding="utf-8", errors="replace"))
        if found:
            return found[1].strip()
    return platform.processor() or platform.machine()
