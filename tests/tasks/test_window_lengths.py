"""Lengths of windows that the user does not give."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anyformer.errors import DataError
from anyformer.tasks.window_lengths import choose_window


@settings(derandomize=True, deadline=None)
@given(
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
    context, chosen, back = choose_window(room, train, season, None, horizon, "data", None)
    assert context >= 2 and (horizon is None or chosen == horizon)
    assert back or context + chosen <= room
    least = max(season or 0, chosen)
    assert back or context >= least
    assert not back or context <= max(2, max(2 * room // 3, 4, train - chosen) // 2)


def test_what_is_said_is_kept() -> None:
    assert choose_window(30, 90, 12, None, 12, "data", None) == (39, 12, True)
    assert choose_window(30, 90, 12, None, 12, "data", False) == (8, 12, False)
    assert choose_window(30, 90, 12, 5, 12, "data", None) == (5, 12, False)
    with pytest.raises(DataError, match="reach_back=True lets the context lie in the split before"):
        choose_window(30, 90, 12, 25, 12, "data", None)
