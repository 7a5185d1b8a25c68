"""A metric is added as the page says: its file and its test are written, and tasks are ranked by it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from anyformer import metrics
from anyformer.compare.run.items import sample_of
from anyformer.compare.verdict.confidence_intervals import ScoredEntry, estimate
from anyformer.registry import modules_in
from anyformer.tasks import Task, evaluate
from anyformer.tasks.labelled import LabelledTask

MODULE = "anyformer.metrics.matthews"


@pytest.fixture
def written(
    blocks_of: Callable[[str], list[Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> dict[str, str]:
    """The file of the page lies in the folder of the metrics, as far as this process can see; its files by name."""
    files = {block.title: block.text for block in blocks_of("add_a_metric.md") if block.title}
    path = tmp_path / "src/anyformer/metrics/matthews.py"
    path.parent.mkdir(parents=True)
    path.write_text(files["src/anyformer/metrics/matthews.py"], encoding="utf-8")
    registry = metrics.metrics
    monkeypatch.setattr(registry, "_entries", {entry.id: entry for entry in registry})
    monkeypatch.setattr(metrics, "__path__", [*metrics.__path__, str(path.parent)])
    monkeypatch.setattr(registry, "manifest", modules_in(metrics.__name__, metrics.__path__))
    monkeypatch.delitem(sys.modules, MODULE, raising=False)
    return files


def labelled() -> Task:
    draw = np.random.default_rng(0)
    x = draw.normal(size=(400, 3, 1))
    y = (x[:, 0, 0] + draw.normal(size=400) > 0).astype(np.int64)
    return LabelledTask(x, y, name="drawn", classes=["no", "yes"])


def test_the_test_of_the_page_passes(written: dict[str, str]) -> None:
    names: dict[str, Any] = {}
    exec(written["tests/metrics/test_matthews.py"], names)
    names["test_it_is_scikit_learns"]()
    assert "matthews" in metrics.list_metrics()
    sys.modules.pop(MODULE)


def test_a_task_is_ranked_by_it_with_an_interval(written: dict[str, str], tmp_path: Path) -> None:
    for name in ("matthews", f"{tmp_path}/src/anyformer/metrics/matthews.py:Matthews"):
        task = labelled()
        task.rank_by(name)
        found = evaluate(task.references()[1].fit(task).predict, task, "test", batch_size=64)
        entry = ScoredEntry("linear", (sample_of(found),), is_reference=True)
        low, high = estimate(entry, task.metric.info.limits).interval()
        assert 0 < low < entry.score < high < 1
        metrics.metrics._entries.pop("matthews", None)
        sys.modules.pop(MODULE, None)
