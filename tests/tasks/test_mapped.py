from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import anyformer.tasks.mapped as module
from anyformer.tasks import Task, open_data
from anyformer.tasks.base import SPLITS
from anyformer.tasks.fingerprint import sample_of_task
from anyformer.tasks.mapped import mapped


def log(users: int = 40, events: int = 40) -> pd.DataFrame:
    """Return events whose item follows the one before, with an amount, a category and a label of each user."""
    rng = np.random.default_rng(0)
    user = np.repeat(np.arange(users), events)
    step = np.tile(np.arange(events), users)
    frame = pd.DataFrame(
        {
            "user": user,
            "time": pd.Timestamp("2024-01-01") + pd.to_timedelta(3600 * (step * users + user), "s"),
            "item": [f"item {one}" for one in (user + step) % 7],
            "amount": np.where(rng.random(len(user)) < 0.1, np.nan, rng.lognormal(size=len(user)).round(2)),
            "shop": rng.choice(["north", "south"], len(user)),
            "churned": np.where(user % 3 == 0, "yes", "no"),
        }
    )
    return frame.sample(frac=1, random_state=0).sort_values("time")


CASES: dict[str, dict[str, Any]] = {
    "events": {"target": "item", "kind": "next", "group": "user"},
    "groups": {"target": "churned", "group": "user"},
    "rows": {"target": "shop", "kind": "classify"},
    "series": {"target": "amount", "kind": "forecast", "group": "user", "context": 4, "horizon": 2},
}


@pytest.fixture
def every(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep tasks of any size in files."""
    monkeypatch.setattr(module, "LARGE", 1)
    monkeypatch.setattr(module, "LEAST", 1)


def opened(folder: Path, case: str) -> Task:
    path = folder / "log.parquet"
    if not path.exists():
        log().to_parquet(path, index=False)
    return open_data(path, **CASES[case])


def arrays_of(value: object) -> list[np.ndarray]:
    """Return the arrays in an object's attributes and in dicts of them."""
    if isinstance(value, np.ndarray):
        return [value]
    values = (
        value.values() if isinstance(value, dict) else vars(value).values() if isinstance(value, Task) else ()
    )
    return [array for one in values for array in arrays_of(one)]


@pytest.mark.usefixtures("every")
@pytest.mark.parametrize("case", CASES)
class TestTheSameTask:
    def test_gives_the_same_batches_splits_and_remarks(self, tmp_path: Path, case: str) -> None:
        task = opened(tmp_path, case)
        with mapped({"log": task}, tmp_path / "columns") as found:
            again = found["log"].open()
            assert sample_of_task(again) == sample_of_task(opened(tmp_path, case))
            assert (again.notes(), again.describe(), again.title) == (
                task.notes(),
                task.describe(),
                task.title,
            )
            for split in SPLITS:
                assert again.size(split) == task.size(split)
                assert np.array_equal(again.clusters(split), task.clusters(split))
                assert np.array_equal(again.subset(split, 5), task.subset(split, 5))
            for step in (0, 7):
                one, other = task.train_batch(step, 16), again.train_batch(step, 16)
                assert torch.equal(one.targets.nan_to_num(), other.targets.nan_to_num())

    def test_gives_the_same_references(self, tmp_path: Path, case: str) -> None:
        task = opened(tmp_path, case)
        with mapped({"log": task}, tmp_path / "columns") as found:
            again = found["log"].open()
            for one, other in zip(task.references(), again.references(), strict=True):
                batch = task.sample("test", 8)
                assert torch.equal(one.fit(task).predict(batch), other.fit(again).predict(batch))

    def test_has_its_arrays_in_files(self, tmp_path: Path, case: str) -> None:
        with mapped({"log": opened(tmp_path, case)}, tmp_path / "columns") as found:
            files = list((tmp_path / "columns").rglob("*.npy"))
            assert len(files) > 1
            arrays = [one for one in arrays_of(found["log"].open()) if one.size and not one.dtype.hasobject]
            assert arrays
            assert not any(array.flags.writeable or array.flags.owndata for array in arrays)
        assert not (tmp_path / "columns").exists()


class TestFiles:
    def test_small_tasks_have_none(self, tmp_path: Path) -> None:
        with mapped({"log": opened(tmp_path, "events")}, tmp_path / "columns") as found:
            assert not found
            assert not list(tmp_path.rglob("*.npy"))

    @pytest.mark.usefixtures("every")
    def test_tasks_that_cannot_be_pickled_have_none(self, tmp_path: Path) -> None:
        task = opened(tmp_path, "events")
        task.helper = lambda: None  # type: ignore[attr-defined]
        with mapped({"log": task}, tmp_path / "columns") as found:
            assert not found
            assert not list(tmp_path.rglob("*.npy"))

    @pytest.mark.usefixtures("every")
    def test_an_array_that_two_attributes_share_is_one(self, tmp_path: Path) -> None:
        task = opened(tmp_path, "events")
        with mapped({"log": task}, tmp_path / "columns"):
            before = len(list(tmp_path.rglob("*.npy")))
        task.twice = task._fields["item"]  # type: ignore[attr-defined]
        with mapped({"log": task}, tmp_path / "columns"):
            assert len(list(tmp_path.rglob("*.npy"))) == before

    @pytest.mark.usefixtures("every")
    def test_those_of_a_killed_comparison_are_replaced_and_errors_leave_none(self, tmp_path: Path) -> None:
        left = tmp_path / "columns" / "0" / "99.npy"
        left.parent.mkdir(parents=True)
        left.write_bytes(b"old")
        task = opened(tmp_path, "events")

        def fails() -> None:
            with mapped({"log": task}, tmp_path / "columns"):
                assert not left.exists()
                raise KeyError

        with pytest.raises(KeyError):
            fails()
        assert not (tmp_path / "columns").exists()
