"""Events of users in order, their parts for training and tests, and the samples that are cut from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from anyformer.tasks.base import SPLITS, Split

SHARES = (0.8, 0.1, 0.1)
"""Shares of the events before the first cut of time, between the two, and after the second."""
ASKED = 8
"""The most events that are asked in one sample of validation or test."""


@dataclass(frozen=True)
class EventLog:
    """Events in order, those of one user side by side.

    Attributes:
        users: ``(N,)`` integers, the user of each event, rising from 0 without gaps.
        parts: ``(N,)`` int8, the split in which each event is asked, as a place in ``SPLITS``; never falling within a
            user.
    """

    users: np.ndarray
    parts: np.ndarray

    @property
    def starts(self) -> np.ndarray:
        """The first event of each user, ``(U,)``."""
        found: np.ndarray = np.searchsorted(self.users, np.arange(self.users[-1] + 1))
        return found

    @property
    def trained(self) -> np.ndarray:
        """The events of the training part, ascending."""
        return np.flatnonzero(self.parts == 0)

    def asked(self, split: Split) -> np.ndarray:
        """Return the events that are asked in a split, ascending: those of its part that are not a user's first."""
        here = self.parts == SPLITS.index(split)
        here[self.starts] = False
        return np.flatnonzero(here)

    def samples(self, split: Split, length: int) -> Samples:
        """Return the samples of a split, each with at most ``length`` inputs.

        Training samples part a user's events, so that each is asked once, and the latest with the longest past. Those
        of the other splits end before the last of up to ``ASKED`` events that they ask.
        """
        asked = self.asked(split)
        users, firsts, counts = np.unique(self.users[asked], return_index=True, return_counts=True)
        most = length if split == "train" else min(ASKED, max(1, length // 2))
        pieces = -(-counts // most)
        owner = np.repeat(np.arange(len(users)), pieces)
        place = np.arange(len(owner)) - np.repeat(np.cumsum(pieces) - pieces, pieces)
        first, count = asked[firsts][owner], counts[owner]
        if split == "train":
            high = first + count - (pieces[owner] - 1 - place) * most
            low = np.maximum(first, high - most)
        else:
            low = first + place * most
            high = np.minimum(low + most, first + count)
        begin = low - 1 if split == "train" else np.maximum(self.starts[users][owner], high - 1 - length)
        return Samples(begin, low - 1, high - 1, users[owner])


class Samples(NamedTuple):
    """Samples by their places in the log.

    Attributes:
        begin: ``(S,)``, the first input.
        first: ``(S,)``, the first input whose next event is asked; so are those of all further ones.
        end: ``(S,)``, one more than the last input.
        users: ``(S,)``.
    """

    begin: np.ndarray
    first: np.ndarray
    end: np.ndarray
    users: np.ndarray


def parts_by_last(users: np.ndarray) -> np.ndarray:
    """Return the parts of events of which the last of each user is asked in test, and the one before in validation.

    A user with two events is in training only; users ``(N,)`` are in order.
    """
    counts = np.bincount(users)[users]
    left = np.searchsorted(users, users, side="right") - 1 - np.arange(len(users))
    parts = np.where(left == 0, 2, np.where(left == 1, 1, 0))
    found: np.ndarray = np.where(counts > 2, parts, 0).astype(np.int8)
    return found


def parts_by_place(count: int) -> np.ndarray:
    """Return the parts of the events of one user, by ``SHARES`` of their number."""
    found: np.ndarray = np.searchsorted(np.cumsum(SHARES)[:2] * count, np.arange(count), side="right")
    return found.astype(np.int8)


def cuts_of(times: np.ndarray) -> tuple[int, int] | None:
    """Return two of the times ``(N,)`` from which validation and test begin, at nearly ``SHARES``; None for too few."""
    ordered = np.sort(times)
    starts = np.append(0, np.flatnonzero(ordered[1:] != ordered[:-1]) + 1)
    if len(starts) < len(SHARES):
        return None
    valid = _nearest(starts, len(times), SHARES[:1], 1, len(starts) - 1)
    test = _nearest(starts, len(times), SHARES[:2], valid + 1, len(starts))
    return ordered[starts[valid]], ordered[starts[test]]


def _nearest(starts: np.ndarray, count: int, shares: Sequence[float], low: int, high: int) -> int:
    """Return the first of the places from ``low`` to before ``high`` whose start is nearest to the sum of shares."""
    near = int(np.clip(np.searchsorted(starts, sum(shares) * count), low, high - 1))
    low = max(low, near - 2)
    away = starts[low : min(high, near + 3)] / count
    for share in shares:
        away = away - share
    return low + int(np.argmin(np.abs(away)))


def in_order(users: np.ndarray, times: np.ndarray | None) -> np.ndarray:
    """Return the rows that have a user, by user, then by time, then as they come.

    Args:
        users: ``(rows,)``, below 0 where there is none.
        times: ``(rows,)``, if there are any.
    """
    order = np.arange(len(users)) if times is None else np.argsort(times, kind="stable")
    order = order[users[order] >= 0]
    found: np.ndarray = order[np.argsort(users[order], kind="stable")]
    return found


def gaps_of(users: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Return log(1 + s) of the seconds s since the user's event before, ``(N,)``; NaN at the first."""
    seconds = np.diff(times) / np.timedelta64(1, "s")
    same = users[1:] == users[:-1]
    return np.append(np.nan, np.where(same, np.log1p(np.where(same, seconds, 0)), np.nan))
