"""The references of labelled series: those whose cost fits, and sentences on the others."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from anyformer.tasks import create_task, nearest, rocket, score_reference
from anyformer.tasks.base import Task
from anyformer.tasks.series_references import series_references


def series(folder: Path, lengths: bool = False, size: int = 30) -> Task:
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 90)
    x = rng.normal(size=(90, size, 2)).cumsum(1) + y[:, None, None] * np.arange(size)[:, None]
    more = {"lengths": rng.integers(12, size, 90)} if lengths else {}
    np.savez(folder / "series.npz", x=x.astype(np.float32), y=y, axes=np.array("NTF"), **more)
    return create_task(folder / "series.npz")


@pytest.mark.parametrize("lengths", [False, True])
def test_series_in_a_file_have_them(tmp_path: Path, lengths: bool) -> None:
    task = series(tmp_path, lengths)
    names = [one.name for one in task.references()]
    assert names[:3] == ["majority", "linear", "boosted trees"]
    assert names[3:] == ["MiniRocket", "nearest neighbour", *([] if lengths else ["warped neighbour"])]
    assert any("series of one length" in note for note in task.notes()) is lengths
    for one in task.references()[3:]:
        assert score_reference(one.fit(task), task) > 0.8, one.name


def test_what_is_too_costly_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    task = series(tmp_path)
    monkeypatch.setattr(rocket, "MOST_WORK", 1e5)
    monkeypatch.setattr(nearest, "MOST_CELLS", 1e3)
    found, remarks = series_references(task, ragged=False)
    assert [one.name for one in found] == ["nearest neighbour"] and len(remarks) == 2
    assert remarks[0] == "MiniRocket is not among the references: too costly for 76 series of 30 steps"
    assert remarks[1].endswith("too costly for 14 test series of 30 steps")


def test_series_shorter_than_a_kernel_have_no_features_and_no_remark(tmp_path: Path) -> None:
    found, remarks = series_references(series(tmp_path, size=8), ragged=False)
    assert [one.name for one in found] == ["nearest neighbour", "warped neighbour"] and not remarks
