"""Curves of the full runs for a logger: each point once, the validation of a leg at its end."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from anyformer.compare.report.live import LiveCurves
from anyformer.compare.results import Sample
from anyformer.compare.run.unit import Outcome, Trained, Unit
from anyformer.compare.run.unit_files import Progress, write_progress

RUN = Unit(task="t", phase="train", candidate="mamba", steps=30, learning_rate=1e-3, seed=1)
SEARCH = RUN.model_copy(update={"phase": "search"})


class Queue:
    """Folders and outcomes of units."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.outcomes: dict[Unit, Outcome] = {}

    def home(self, unit: Unit) -> Path:
        (self.folder / unit.id).mkdir(exist_ok=True)
        return self.folder / unit.id

    def outcome(self, unit: Unit) -> Outcome | None:
        return self.outcomes.get(unit)


@pytest.mark.parametrize(("tasks", "prefix"), [(1, ""), (2, "t/")])
def test_each_point_is_told_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tasks: int, prefix: str
) -> None:
    monkeypatch.setattr("anyformer.compare.report.live.EVERY_SECONDS", 0.0)
    taken: list[tuple[int, Any]] = []
    queue = Queue(tmp_path)
    scheduler: Any = SimpleNamespace(
        units=[RUN, SEARCH], queue=queue, plan=SimpleNamespace(tasks=[None] * tasks)
    )
    curves = LiveCurves(lambda step, values: taken.append((step, dict(values))))
    curves(scheduler)
    assert taken == [], "nothing is known yet"
    for step, loss in ((10, 0.5), (10, 0.5), (20, 0.25)):
        for unit in (RUN, SEARCH):
            write_progress(queue.home(unit), Progress(step=step, steps=30, loss=loss))
        curves(scheduler)
    trained = Trained(step_seconds=0.1, seconds=3.0, valid=Sample(score=0.9))
    queue.outcomes[RUN] = Outcome("ok", found=trained)
    curves(scheduler)
    curves(scheduler)
    name = f"{prefix}mamba/seed 1"
    assert taken == [
        (10, {f"{name}/train/loss": 0.5}),
        (20, {f"{name}/train/loss": 0.25}),
        (30, {f"{name}/valid": 0.9}),
    ]


def test_a_run_that_failed_ends(tmp_path: Path) -> None:
    queue = Queue(tmp_path)
    queue.outcomes[RUN] = Outcome("diverged", "the loss was nan")
    taken: list[object] = []
    scheduler: Any = SimpleNamespace(units=[RUN], queue=queue, plan=SimpleNamespace(tasks=[None]))
    LiveCurves(lambda step, values: taken.append(step))(scheduler)
    assert taken == []
