from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anyformer.tasks.base import SPLITS
from anyformer.tasks.eventlog import (
    ASKED,
    EventLog,
    cuts_of,
    gaps_of,
    in_order,
    parts_by_last,
    parts_by_place,
)


@st.composite
def logs(draw: st.DrawFn) -> EventLog:
    counts = draw(st.lists(st.tuples(*[st.integers(0, 25)] * 3), min_size=1, max_size=6))
    counts = [(max(train, 1), valid, test) for train, valid, test in counts]
    users = np.repeat(np.arange(len(counts)), [sum(one) for one in counts])
    parts = np.concatenate([np.repeat([0, 1, 2], one) for one in counts]).astype(np.int8)
    return EventLog(users, parts)


@settings(derandomize=True, max_examples=60, deadline=None)
@given(logs(), st.integers(2, 30))
def test_each_event_is_asked_once_and_from_its_past(log: EventLog, length: int) -> None:
    for number, split in enumerate(SPLITS):
        begin, first, end, users = log.samples(split, length)
        asked = [np.arange(low, high) + 1 for low, high in zip(first, end)]
        assert np.concatenate([[], *asked]).astype(int).tolist() == log.asked(split).tolist()
        assert set(log.parts[log.asked(split)].tolist()) <= {number}
        for low, high, user, targets in zip(begin, end, users, asked):
            assert 0 < high - low <= length and len(targets) <= (length if split == "train" else ASKED)
            assert set(log.users[[*range(low, high), *targets]].tolist()) == {user}
            whole = low == log.starts[user] or split == "train"
            assert whole or high - low == length  # nothing that fits is left out
        if split == "train":
            assert (log.parts[np.concatenate([[0], *asked]).astype(int)] == 0).all()


def test_long_users_are_parted_from_the_end() -> None:
    log = EventLog(np.zeros(8, int), np.zeros(8, np.int8))
    begin, first, end, _ = log.samples("train", 3)
    assert (begin.tolist(), first.tolist(), end.tolist()) == ([0, 1, 4], [0, 1, 4], [1, 4, 7])


@pytest.mark.parametrize(
    ("count", "parts"), [(1, [0]), (2, [0, 0]), (3, [0, 1, 2]), (5, [0, 0, 0, 1, 2])], ids=str
)
def test_the_last_event_is_in_test(count: int, parts: list[int]) -> None:
    users = np.repeat([0, 1], [count, 4])
    assert parts_by_last(users).tolist() == [*parts, 0, 0, 1, 2]


def test_places_of_one_sequence() -> None:
    assert parts_by_place(20).tolist() == [0] * 16 + [1] * 2 + [2] * 2


@settings(derandomize=True, max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 30), min_size=1, max_size=200))
def test_cuts_leave_something_in_every_part(times: list[int]) -> None:
    cuts = cuts_of(np.array(times))
    if len(set(times)) < 3:
        assert cuts is None
        return
    assert cuts is not None
    parts = np.digitize(times, cuts)
    assert set(parts.tolist()) == {0, 1, 2}


def test_cuts_are_at_four_fifths_and_nine_tenths() -> None:
    assert cuts_of(np.arange(100)) == (80, 90)


def test_order_and_gaps() -> None:
    users, times = np.array([1, 0, 1, -1, 1, 0]), np.array([5, 9, 3, 0, 5, 2]).astype("datetime64[s]")
    order = in_order(users, times)
    assert order.tolist() == [5, 1, 2, 0, 4]  # equal times stay as their rows are
    assert in_order(users, None).tolist() == [1, 5, 0, 2, 4]
    gaps = gaps_of(users[order], times[order])
    assert np.expm1(gaps[[1, 3, 4]]).round(9).tolist() == [7, 2, 0] and np.isnan(gaps[[0, 2]]).all()


def test_cuts_are_at_the_times_nearest_to_the_shares() -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        times = rng.integers(0, rng.integers(1, 30), rng.integers(1, 60)).astype("datetime64[s]")
        different, counts = np.unique(times, return_counts=True)
        if len(different) < 3:
            assert cuts_of(times) is None
            continue
        before = (np.cumsum(counts) - counts) / len(times)
        valid = int(np.argmin(np.abs(before[1:-1] - 0.8))) + 1
        test = int(np.argmin(np.abs(before[valid + 1 :] - 0.8 - 0.1))) + valid + 1
        assert cuts_of(times) == (different[valid], different[test])
