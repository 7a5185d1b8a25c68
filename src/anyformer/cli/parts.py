"""``anyformer list`` and ``anyformer doctor``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from anyformer.cli.main import app, console, one_message
from anyformer.registry import Registry, nearest

if TYPE_CHECKING:
    import torch

EXAMPLE_LENGTH = 256
"""Length of the examples for which ``doctor`` lets ops choose their paths, in tokens."""
KINDS = ("mixers", "channels", "models", "positions", "embedders", "heads", "tasks", "readers", "metrics")


@app.command("list")
@one_message
def list_parts(
    kind: Annotated[str, typer.Argument(help=f"One of {', '.join(KINDS)}; by default all.")] = "all",
) -> None:
    """List what there is: mixers, channel mixers, models, positions, embedders, heads, tasks, readers and metrics."""
    if kind not in (*KINDS, "all"):
        raise ValueError(f"unknown kind {kind!r}{nearest(kind, list(KINDS))}")
    for each in KINDS if kind == "all" else (kind,):
        _tables[each]()


def _mixers(kind: str) -> None:
    from anyformer import channels, mixers
    from anyformer.parts import part_info

    registry = mixers.mixers if kind == "mixers" else channels.channels
    table = Table(title=kind, title_justify="left")
    for column in ("name", "sees (past, future)", "time", "state", "what it is"):
        table.add_column(column, no_wrap=column == "name")
    for entry in registry:
        info = part_info(registry, entry.id, entry.examples[0])
        past, future = ("all" if r is None else str(r) for r in info.reach)
        table.add_row(entry.id, f"{past}, {future}", info.cost, info.state, entry.summary)
    console.print(table)


def _models() -> None:
    from anyformer.models import load_spec, models

    table = Table(title="models", title_justify="left")
    table.add_column("name", no_wrap=True)
    table.add_column("what it is, and its spec")
    for entry in models:
        table.add_row(entry.id, Text(entry.summary + "\n").append(str(load_spec(entry.id)), style="dim"))
    console.print(table)


def _summaries(kind: str) -> None:
    from anyformer.embed import embedders
    from anyformer.heads import heads
    from anyformer.metrics import metrics
    from anyformer.positions import positions
    from anyformer.tasks import tasks
    from anyformer.tasks.readers import readers

    registries: dict[str, Registry[Any]] = {
        "embedders": embedders,
        "heads": heads,
        "metrics": metrics,
        "positions": positions,
        "readers": readers,
        "tasks": tasks,
    }
    table = Table(title=kind, title_justify="left")
    table.add_column("name")
    table.add_column("what it is")
    for entry in registries[kind]:
        table.add_row(entry.id, entry.summary.replace("``", ""))
    console.print(table)


_tables = {
    "mixers": lambda: _mixers("mixers"),
    "channels": lambda: _mixers("channels"),
    "models": _models,
    "positions": lambda: _summaries("positions"),
    "embedders": lambda: _summaries("embedders"),
    "heads": lambda: _summaries("heads"),
    "tasks": lambda: _summaries("tasks"),
    "readers": lambda: _summaries("readers"),
    "metrics": lambda: _summaries("metrics"),
}


@app.command()
@one_message
def doctor() -> None:
    """Describe this machine, and the path that each op takes on it, with the reason."""
    import platform

    import torch

    import anyformer
    from anyformer.ops import UNDER_TRANSFORMS, native_status

    facts = Table(title="machine", title_justify="left", show_header=False)
    cuda = torch.cuda.get_device_name() if torch.cuda.is_available() else "none"
    for name, value in {
        "anyformer": anyformer.__version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "system": f"{platform.system()} {platform.machine()}",
        "CPU capability": torch.backends.cpu.get_cpu_capability(),
        "native kernels": native_status().library or f"none: {native_status().reason}",
        "torch threads": str(torch.get_num_threads()),
        "GPU": cuda,
    }.items():
        facts.add_row(name, value)
    console.print(facts)
    table = Table(title="ops", title_justify="left")
    for column in ("op", "on", "path", "why"):
        table.add_column(column)
    devices = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
    for name, path, places, why in paths_taken(devices, (torch.float32, torch.bfloat16)):
        table.add_row(name, "\n".join(places), path, why)
    console.print(table)
    console.print(UNDER_TRANSFORMS)


def paths_taken(
    devices: Sequence[str], dtypes: Sequence[torch.dtype]
) -> Iterator[tuple[str, str, list[str], str]]:
    """Yield, for each op and each path that it takes: op, path, devices with dtypes, and the reason.

    Paths are chosen for the op's first example, without gradients.
    """
    from anyformer.laws.ops.cases import Sizes, path_of
    from anyformer.ops import Choice, load_all

    for name in load_all():
        taken: dict[Choice, list[str]] = {}
        for device in devices:
            for dtype in dtypes:
                choice = path_of(name, Sizes(T=EXAMPLE_LENGTH, K=64, V=64), device, dtype)
                taken.setdefault(choice, []).append(f"{device} {str(dtype).removeprefix('torch.')}")
        for choice, places in taken.items():
            yield name, choice.path.name, places, choice.why
