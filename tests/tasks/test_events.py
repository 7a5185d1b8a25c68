from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from logs import chains, saved

from anyformer.tasks import DataError, create_task, open_data
from anyformer.tasks.next_item import NextItemTask


def opened(path: Path, **options: object) -> NextItemTask:
    task = open_data(path, "item", kind="next", **{"group": "user", **options})
    assert isinstance(task, NextItemTask)
    return task


def notes(task: NextItemTask) -> str:
    return " ".join(task.notes())


class TestOrder:
    def test_rows_in_any_order_are_put_in_that_of_time(self, tmp_path: Path) -> None:
        frame = chains(users=40)
        shuffled = frame.sample(frac=1, random_state=0)
        tasks = [opened(saved(tmp_path, one)) for one in (frame, shuffled)]
        rows = [sorted("-".join(one) for one in sequences(task)) for task in tasks]
        assert rows[0] == rows[1]
        assert "events from 2024-03-" in notes(tasks[1]) and "training sees earlier ones alone" in notes(
            tasks[1]
        )

    def test_times_that_neither_rise_nor_fill_a_grid_are_taken_too(self, tmp_path: Path) -> None:
        frame = chains(users=40)
        frame["time"] = seconds_of(frame) // 10**4 * 10**4
        frame = frame.rename(columns={"time": "timestamp"}).sample(frac=1, random_state=0)
        task = opened(saved(tmp_path, frame))
        assert "'timestamp' tells the time of the events, which are put in its order" in notes(task)
        assert "events have the time of the one before, of the same user" in notes(task)

    def test_two_columns_of_dates_that_may_order_the_events_are_asked_about(self, tmp_path: Path) -> None:
        frame = chains(users=40)
        seconds = seconds_of(frame) // 10**4 * 10**4
        frame = frame.assign(time=seconds, seen_time=seconds + 10**4).sample(frac=1, random_state=0)
        path = saved(tmp_path, frame)
        with pytest.raises(
            DataError, match="'time' and 'seen_time' hold dates, .*: date='time' says so, date='none'"
        ):
            opened(path)
        told = [opened(path, date=name).notes() for name in ("time", "seen_time")]
        firsts = [next(note for note in notes if "are asked in test" in note).split()[2] for notes in told]
        assert int(firsts[1]) == int(firsts[0]) + 10**4

    def test_without_dates_the_rows_are_in_order(self, tmp_path: Path) -> None:
        frame = chains(users=40).drop(columns="time")
        task = opened(saved(tmp_path, frame))
        assert "no column of dates: events follow each other as their rows do" in notes(task)
        assert "the last event of each user with three or more is asked in test" in notes(task)
        assert task.stream is not None and task.stream.names == ["item"]
        with pytest.raises(
            DataError, match="holdout='time' needs a column of dates; date names it, or holdout='last'"
        ):
            opened(tmp_path / "log.csv", holdout="time")

    def test_one_sequence(self, tmp_path: Path) -> None:
        frame = chains(users=1, length=300).drop(columns=["user", "time"])
        task = opened(saved(tmp_path, frame), group=None)
        assert "all rows are one sequence; group='NAME' names the column of users" in notes(task)
        assert "the last tenth of the rows is asked in test" in notes(task)
        assert task.title == "Tell the item of the next event."
        assert len(set(task.clusters("test").tolist())) == task.size("test")
        with pytest.raises(
            DataError, match="holdout='last' asks for .* all rows are one sequence: group names"
        ):
            opened(tmp_path / "log.csv", group=None, holdout="last")


def seconds_of(frame: pd.DataFrame) -> pd.Series:
    return (pd.to_datetime(frame["time"]) - pd.Timestamp(0)) // pd.Timedelta(seconds=1)


def sequences(task: NextItemTask) -> list[list[str]]:
    codes, users = task._fields["item"], task.log.users
    return [[task.item.values[code - 2] for code in codes[users == user]] for user in range(users[-1] + 1)]


class TestRows:
    def test_what_is_left_out_or_odd_is_said(self, tmp_path: Path) -> None:
        frame = chains(users=40)
        frame.loc[[3, 5], "user"] = None
        frame.loc[[7], "item"] = None
        frame.loc[[9, 11, 13], "time"] = None
        frame = pd.concat([frame, frame.iloc[[20, 20]], frame.iloc[[30]].assign(user="alone")])
        said = notes(opened(saved(tmp_path, frame)))
        for told in (
            "2 rows have no group and are left out",
            "1 of 643 rows have no 'item' and are left out",
            "3 of 643 rows have no date and are left out",
            "2 rows repeat another in all columns; they count as events",
            "1 of 41 users have one event, before which nothing is known: it is not asked",
        ):
            assert told in said, said

    def test_numbers_that_count_rows_are_no_inputs(self, tmp_path: Path) -> None:
        frame = chains(users=40)
        frame["visit_id"], frame["place"] = np.arange(640) // 4, frame.groupby("user").cumcount()
        task = opened(saved(tmp_path, frame))
        assert task.describe()["columns"] == ["item"]
        assert "left out: 'visit_id', ids by its name" in notes(task)
        assert "left out: 'place', counting the rows of each group" in notes(task)
        assert opened(tmp_path / "log.csv", keep="place").describe()["columns"] == ["item", "place"]

    def test_items_may_be_numbers_and_users_several_columns(self, tmp_path: Path) -> None:
        frame = chains(users=40)
        frame["item"] = frame["item"].str[1:].astype(float)
        frame["shop"], frame["user"] = "north", frame["user"].str[1:].astype(int)
        frame.loc[5, "item"] = np.nan
        task = opened(saved(tmp_path, frame), group=["shop", "user"])
        assert sorted(task.item.values) == sorted(str(item) for item in range(20))
        assert (
            task.title == "Tell the item of each shop and user's next event."
            and task.describe()["users"] == 40
        )

    @pytest.mark.parametrize("suffix", ["parquet", "jsonl"])
    def test_other_files(self, tmp_path: Path, suffix: str) -> None:
        frame = chains(users=40)
        whole = opened(saved(tmp_path, frame))
        path = tmp_path / f"log.{suffix}"
        typed = frame.assign(time=pd.to_datetime(frame["time"]))
        typed.to_parquet(path) if suffix == "parquet" else frame.to_json(path, orient="records", lines=True)
        task = opened(path)
        assert sequences(task) == sequences(whole) and task.log.parts.tolist() == whole.log.parts.tolist()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "regress", "only_new": True}, "only_new does not apply to other tables"),
        ({"holdout": "first"}, "holdout must be 'time' or 'last', got 'first'"),
        ({"target": ["item", "user"]}, "target must name the column of items, got 'item', 'user'"),
        ({"target": None}, "target must name the column of items"),
        ({"target": "user"}, "target and group both name 'user'"),
        ({"horizon": 3}, "horizon does not apply to tables whose next item is asked, got 3"),
        ({"text": "item"}, "text does not apply to tables whose next item is asked"),
        ({"known": "time"}, "known does not apply to tables whose next item is asked, got"),
        ({"calendar": True}, "calendar does not apply to tables whose next item is asked"),
        ({"length": 1}, "length must be an integer at least 2, got 1"),
        (
            {"kind": "classify"},
            "'item' changes within groups of 'user'; .*; kind='next' asks for the next one",
        ),
        (
            {"kind": "regress", "holdout": "last"},
            "holdout does not apply to other tables.*kind='next' asks for the next",
        ),
        ({"kind": "nxt"}, "kind must be one of .*'next'.*, got 'nxt'; did you mean 'next'"),
        ({"group": "usr"}, "group: .* has no column 'usr'; did you mean 'user'"),
        ({"holdout": "last", "split": "split"}, "group: .* has no column|split: .* has no column 'split'"),
        ({"keep": "item"}, "keep: column 'item' of .* is no input, but a target"),
    ],
)
def test_wrong_options(tmp_path: Path, options: dict[str, object], message: str) -> None:
    path = saved(tmp_path, chains(users=30))
    with pytest.raises(ValueError, match=message):
        create_task(path, **{"target": "item", "kind": "next", "group": "user", **options})  # type: ignore[arg-type]


def test_dates_that_are_all_the_same_part_nothing(tmp_path: Path) -> None:
    path = saved(tmp_path, chains(users=30).assign(time="2024-01-01"))
    with pytest.raises(
        DataError, match="fewer than three different dates, too few to part them by time; holdout='last'"
    ):
        opened(path, date="time")


def test_no_row_has_all(tmp_path: Path) -> None:
    path = saved(tmp_path, pd.DataFrame({"user": ["a", None] * 20, "item": [None, "x"] * 20}))
    with pytest.raises(DataError, match="no row has all of 'user', 'item'"):
        opened(path)
