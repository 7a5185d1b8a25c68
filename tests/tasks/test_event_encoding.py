from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from logs import chains, saved

from anyformer.tasks import DataError, open_data
from anyformer.tasks.event_encoding import EventEncoding
from anyformer.tasks.readers import load_encoding


def encoding_of(folder: Path, frame: pd.DataFrame, **options: object) -> EventEncoding:
    task = open_data(saved(folder, frame), "item", kind="next", **{"group": "user", **options})
    assert isinstance(task.encoding, EventEncoding)
    found = load_encoding(task.encoding.model_dump(mode="json", exclude_none=True))
    assert found == task.encoding and isinstance(found, EventEncoding)
    return found


def test_new_events_are_encoded_as_those_of_the_task(tmp_path: Path) -> None:
    frame = chains(users=40).assign(page=["home", "list"] * 320, amount=np.arange(640.0) % 7)
    task = open_data(saved(tmp_path, frame), "item", kind="next", group="user", holdout="last", length=4)
    assert isinstance(task.encoding, EventEncoding)
    unseen = task.encoding.read(saved(tmp_path, frame.sample(frac=1, random_state=0), "new.csv"))
    whole = {name: values for name, values in task._fields.items()}  # type: ignore[attr-defined]
    ends = np.flatnonzero(np.append(np.diff(task.log.users), 1))  # type: ignore[attr-defined]
    order = [unseen.names["user"].tolist().index(f"u{user}") for user in range(40)]
    assert isinstance(unseen.batch.inputs, dict)
    for name, values in whole.items():
        expected = np.stack([values[end - 3 : end + 1] for end in ends])
        np.testing.assert_allclose(unseen.batch.inputs[name][order].numpy(), expected, rtol=1e-5, atol=1e-6)
    assert unseen.batch.at is not None and unseen.batch.at.tolist() == [[3]] * 40
    assert unseen.remarks == []


def test_the_likeliest_items_are_told(tmp_path: Path) -> None:
    encoding = encoding_of(tmp_path, chains(users=40)).with_options({"top": 3})
    frame = chains(users=3)
    frame = pd.concat([frame, frame.iloc[[0]].assign(user="short"), frame.iloc[[0]].assign(user=None)])
    unseen = encoding.read(saved(tmp_path, frame, "new.csv"))
    assert unseen.names["user"].tolist() == ["u0", "u1", "u2", "short"]
    assert unseen.batch.mask is not None and unseen.batch.mask.sum(1).tolist()[3] == 1
    assert "1 rows have no group and are left out" in unseen.remarks
    logits = torch.randn(4, 1, 20)
    table = encoding.answers(unseen, encoding.kept(logits))
    assert list(table.columns) == ["user", "rank", "item", "p"] and table["rank"].tolist() == [1, 2, 3] * 4
    shares = logits[:, 0].double().softmax(1)
    assert table["item"][0] == encoding.item.values[int(shares[0].argmax())]
    assert table["p"].to_numpy() == pytest.approx(
        shares.sort(1, descending=True).values[:, :3].flatten().numpy(), rel=1e-4
    )
    assert encoding.with_options({"top": 50}).kept(logits).shape == (4, 20, 2)


def test_items_that_a_user_had_are_not_told(tmp_path: Path) -> None:
    frame = chains(users=40, length=24)
    encoding = encoding_of(tmp_path, frame, only_new=True, length=3).with_options({"top": 5})
    unseen = encoding.read(tmp_path / "log.csv")
    table = encoding.answers(unseen, encoding.kept(unseen.batch.allowed(torch.randn(40, 1, 20)), None))
    had = frame.groupby("user")["item"].agg(set)
    told = table.groupby("user")["item"].agg(set)
    assert all(not told[user] & had[user] for user in told.index) and len(told) == 40


def test_who_has_had_all_items_is_named_in_a_remark(tmp_path: Path) -> None:
    items = [f"i{i}" for i in range(6)]
    some = pd.DataFrame(
        {"user": np.repeat([f"u{i}" for i in range(30)], 4), "time": np.tile(np.arange(4), 30)}
    )
    some["item"] = np.tile(items, 20)
    every = pd.DataFrame({"user": "all", "time": np.arange(6), "item": items})
    encoding = encoding_of(tmp_path, pd.concat([some, every]), only_new=True, length=8)
    unseen = encoding.read(tmp_path / "log.csv")
    logits = unseen.batch.allowed(torch.randn(31, 1, encoding.item.size - 2))
    table = encoding.answers(unseen, encoding.kept(logits))
    assert "all" not in set(table["user"]) and table["user"].nunique() == 30 and (table["p"] > 0).all()
    assert "1 users have had all items that the model knows: none is told for them" in unseen.remarks


def test_columns_of_these_names_stay_apart(tmp_path: Path) -> None:
    frame = chains(users=40).rename(columns={"user": "rank", "item": "p"})
    task = open_data(saved(tmp_path, frame), "p", kind="next", group="rank")
    unseen = task.encoding.read(tmp_path / "log.csv")
    table = task.encoding.answers(unseen, task.encoding.kept(torch.randn(40, 1, 20)))
    assert list(table.columns) == ["rank", "(rank)", "p", "(p)"]


def test_what_the_model_does_not_know_is_said(tmp_path: Path) -> None:
    encoding = encoding_of(tmp_path, chains(users=40).assign(amount=np.arange(640.0) % 7))
    frame = chains(users=4).assign(amount=1.0)
    frame.loc[[3, 4, 5], "item"] = ["new", "new", "newer"]
    frame.loc[[6], "item"] = None
    frame.loc[[8], "time"] = None
    frame.loc[[9], "amount"] = None
    remarks = encoding.read(saved(tmp_path, frame, "new.csv")).remarks
    assert remarks == [
        "1 rows have no 'item' and are left out",
        "1 rows have no date and are left out",
        "missing values: 1, set to the mean",
        "3 of 62 rows have one of 2 values of 'item' that the model does not know ('new', 'newer'): they are read as "
        "one, and none of them is told",
    ]


def test_one_sequence(tmp_path: Path) -> None:
    frame = chains(users=1, length=300).drop(columns=["user", "time"])
    encoding = encoding_of(tmp_path, frame, group=None)
    unseen = encoding.read(tmp_path / "log.csv")
    table = encoding.answers(unseen, encoding.kept(torch.randn(1, 1, encoding.item.size - 2)))
    assert list(table.columns) == ["rank", "item", "p"] and len(table) == 10


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (chains(users=2).drop(columns="item"), "the model needs the column 'item': .* has no column 'item'"),
        (chains(users=2).drop(columns="user"), "the model needs the column 'user'"),
        (chains(users=2).drop(columns="time"), "has no column 'time'"),
        (chains(users=2).assign(time="x"), "does not hold dates"),
        (chains(users=2).assign(item=None), "no row has all of 'user', 'item'"),
        (chains(users=2).head(0), "has a line of column names and no rows"),
    ],
)
def test_wrong_files(tmp_path: Path, frame: pd.DataFrame, message: str) -> None:
    encoding = encoding_of(tmp_path, chains(users=40))
    with pytest.raises(DataError, match=message):
        encoding.read(saved(tmp_path, frame, "new.csv"))


def test_wrong_options_of_predictions(tmp_path: Path) -> None:
    encoding = encoding_of(tmp_path, chains(users=40))
    with pytest.raises(ValueError, match="top must be greater than or equal to 1, got 0"):
        encoding.with_options({"top": 0})
    with pytest.raises(ValueError, match="have no option 'tpo'; did you mean 'top'"):
        encoding.with_options({"tpo": 1})
