"""Lengths of windows that the user does not give."""

from __future__ import annotations

import pytest
from hypothesis import given as drawn
from hypothesis import settings
from hypothesis import strategies as st

from anyformer.errors import DataError
from anyformer.tasks.window_lengths import choose_window


@settings(derandomize=True, deadline=None)
@drawn(
    st.integers(6, 500),
    st.integers(1, 40),
    st.one_of(st.none(), st.integers(2, 60)),
    st.one_of(st.none(), st.integers(1, 60)),
)
def test_windows_fit_and_are_no_shorter_than_season_and_horizon_if_they_can(
    room: int, times: int, season: int | None, horizon: int | None
) -> None:
    train = times * room
    if horizon is not None and horizon > room:
        with pytest.raises(DataError, match=f"horizon {horizon} are longer than the {room} steps"):
            choose_window(room, train, season, None, horizon, "data", None)
        return
    context, chosen, back = choose_window(room, train, season, None, horizon, "data", None)[:3]
    assert context >= 2 and (horizon is None or chosen == horizon)
    assert back or context + chosen <= room
    least = max(season or 0, chosen)
    assert back or context >= least
    assert not back or context <= max(2, max(2 * room // 3, 4, train - chosen) // 2)


def test_what_is_said_is_kept() -> None:
    assert choose_window(30, 90, 12, None, 12, "data", None)[:3] == (39, 12, True)
    assert choose_window(30, 90, 12, None, 12, "data", False)[:3] == (8, 12, False)
    assert choose_window(30, 90, 12, 5, 12, "data", None)[:3] == (5, 12, False)
    with pytest.raises(DataError, match="reach_back=True lets the context lie in the split before"):
        choose_window(30, 90, 12, 25, 12, "data", None)


@pytest.mark.parametrize(
    ("room", "train", "season", "given", "told"),
    [
        (500, 1500, 7, {}, "windows of 32 steps (the fewest by default) predict the next 7 (a season)"),
        (500, 1500, 24, {}, "windows of 96 steps (four times the horizon) predict the next 24 (a season)"),
        (5000, 9999, 168, {}, "windows of 336 steps (two seasons) predict the next 48 (the most by default)"),
        (
            5000,
            9999,
            None,
            {},
            "windows of 48 steps (four times the horizon) predict the next 12 (as usual without a",
        ),
        (
            5000,
            9999,
            300,
            {},
            "windows of 512 steps (the most by default) predict the next 48 (the most by default)",
        ),
        (
            30,
            90,
            None,
            {},
            "windows of 15 steps (with the horizon two thirds of the 30 steps of a split) predict the next 5 (a "
            "sixth of the 30 steps of a split)",
        ),
        (
            30,
            90,
            12,
            {"horizon": 12},
            "windows of 39 steps (half of the 90 steps of training) predict the next 12 (as",
        ),
        (
            30,
            90,
            12,
            {"context": 5, "horizon": 3},
            "windows of 5 steps (as given) predict the next 3 (as given)",
        ),
    ],
)
def test_the_reason_is_told(
    room: int, train: int, season: int | None, given: dict[str, int], told: str
) -> None:
    context, horizon = given.get("context"), given.get("horizon")
    assert choose_window(room, train, season, context, horizon, "data", None).told.startswith(told)
