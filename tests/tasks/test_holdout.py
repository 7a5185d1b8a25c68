from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from logs import chains, saved

from anyformer.tasks import DataError, open_data
from anyformer.tasks.base import SPLITS
from anyformer.tasks.next_item import NextItemTask


def opened(path: Path, **options: object) -> NextItemTask:
    task = open_data(path, "item", kind="next", group="user", **options)
    assert isinstance(task, NextItemTask)
    return task


def asked(task: NextItemTask) -> list[int]:
    return [len(task.log.asked(split)) for split in SPLITS]


def test_after_two_moments(tmp_path: Path) -> None:
    frame = chains(users=40)
    task = opened(saved(tmp_path, frame))
    cuts = [sorted(frame["time"])[int(share * len(frame))] for share in (0.8, 0.9)]
    assert any(
        note.startswith(f"events from {cuts[1]} on are asked in test, those from {cuts[0]}")
        for note in task.notes()
    )
    counts = np.bincount(task.log.parts)
    assert counts.tolist() == [512, 64, 64]


def test_the_last_of_each_user(tmp_path: Path) -> None:
    task = opened(saved(tmp_path, chains(users=40)), holdout="last")
    assert asked(task) == [40 * 13, 40, 40]
    assert any("training sees what other users did later; holdout='time'" in note for note in task.notes())


class TestGiven:
    def given(self, users: int = 40) -> pd.DataFrame:
        frame = chains(users=users)
        place = frame.groupby("user").cumcount()
        frame["part"] = np.where(place < 12, "train", np.where(place < 14, "dev", "test"))
        return frame

    def test_by_a_column(self, tmp_path: Path) -> None:
        task = opened(saved(tmp_path, self.given()), split="part")
        assert asked(task) == [40 * 11, 80, 80] and task.stream is not None
        assert task.stream.names == ["item", "(numbers)"]  # the column is no input
        assert "the splits are as given: 480 rows train, 80 rows valid, 80 rows test" in task.notes()

    def test_by_files(self, tmp_path: Path) -> None:
        frame = self.given()
        parts = {part: rows.drop(columns="part") for part, rows in frame.groupby("part")}
        for part, rows in parts.items():
            saved(tmp_path, rows, f"{part}.csv")
        task = opened(
            tmp_path / "train.csv", valid=str(tmp_path / "dev.csv"), test=str(tmp_path / "test.csv")
        )
        assert asked(task) == [40 * 11, 80, 80]

    def test_without_validation(self, tmp_path: Path) -> None:
        frame = self.given().replace({"part": {"dev": "train"}})
        task = opened(saved(tmp_path, frame), split="part")
        assert asked(task) == [40 * 12, 40, 80]
        assert any("the last training event of each user is asked in it" in note for note in task.notes())

    def test_whole_users(self, tmp_path: Path) -> None:
        frame = self.given().assign(part=lambda f: np.where(f["user"].isin(["u1", "u2"]), "test", "train"))
        assert asked(opened(saved(tmp_path, frame), split="part")) == [38 * 14, 38, 30]

    def test_training_after_the_test_is_refused(self, tmp_path: Path) -> None:
        frame = self.given()
        frame.loc[31, "part"] = "train"
        with pytest.raises(
            DataError, match="row 32 of .* is in an earlier split than an event before it, of the same user"
        ):
            opened(saved(tmp_path, frame), split="part")

    def test_beside_another_way(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match="holdout does not apply where the splits are given"):
            opened(saved(tmp_path, self.given()), split="part", holdout="last")
