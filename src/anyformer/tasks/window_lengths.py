"""The lengths of a forecast's windows where the user does not give them."""

from __future__ import annotations

from typing import NamedTuple

from anyformer.errors import DataError
from anyformer.spelling import option
from anyformer.tasks.base import check_integer

REACHES_BACK = (
    "windows reach back over the borders of the splits, as those inside a split would be shorter than the season or "
    "the horizon; {} keeps every value in one split"
)
"""The remark on windows that may lie in two splits without the user's word, with a place for the option."""


Length = tuple[int, str]
"""A number of steps, and why so many."""
GIVEN = "as given"


class Windows(NamedTuple):
    """The lengths of windows, with what they follow from in a few words."""

    context: int
    horizon: int
    reaches_back: bool
    """True if the context may lie in the split before."""
    why_context: str
    why_horizon: str

    @property
    def told(self) -> str:
        """The lengths with their reasons, as the begin of a sentence."""
        return (
            f"windows of {self.context} steps ({self.why_context}) predict the next {self.horizon} "
            f"({self.why_horizon})"
        )


def choose_window(
    room: int,
    train: int,
    season: int | None,
    context: int | None,
    horizon: int | None,
    name: str,
    reach_back: bool | None,
) -> Windows:
    """Choose context and horizon, as far as they are not given, and whether the context may lie in the split before.

    Two thirds of a split of ``room`` steps hold a window, or a horizon where the context may lie in the split before;
    it is then at most half of what the ``train`` steps leave beside a horizon.
    """
    for argument, value in (("context", context), ("horizon", horizon)):
        if value is not None:
            check_integer(argument, value, low=1)
    most = max(4, 2 * room // 3)
    ahead = (horizon, GIVEN) if horizon is not None else _choose_horizon(room, most, season)
    horizon, past = ahead[0], (context or 0, GIVEN)
    if context is None:
        wanted = _choose_context(horizon, season)
        past = _fewest(
            wanted, (most - horizon, f"with the horizon two thirds of the {room} steps of a split")
        )
        if reach_back is None and horizon <= room:
            reach_back = past[0] < max(season or 0, horizon)
        if reach_back:
            past = _fewest(
                wanted, (max(most, train - horizon) // 2, f"half of the {train} steps of training")
            )
        past = _most(past, (2, "the fewest"))
    if (0 if reach_back else past[0]) + horizon > room:
        more = (
            f"; {option('reach_back', True)} lets the context lie in the split before"
            if horizon <= room
            else ""
        )
        raise DataError(
            f"{name}: context {past[0]} + horizon {horizon} are longer than the {room} steps of a test split{more}"
        )
    return Windows(past[0], horizon, bool(reach_back), past[1], ahead[1])


def _choose_horizon(room: int, most: int, season: int | None) -> Length:
    usual = (season, "a season") if season else (12, "as usual without a season")
    return _fewest(
        usual, (48, "the most by default"), (max(1, most // 4), f"a sixth of the {room} steps of a split")
    )


def _choose_context(horizon: int, season: int | None) -> Length:
    least = (32, "the fewest by default")
    wanted = _most((4 * horizon, "four times the horizon"), (2 * (season or 0), "two seasons"), least)
    return _fewest(wanted, (512, "the most by default"))


def _fewest(*lengths: Length) -> Length:
    return min(lengths, key=lambda length: length[0])


def _most(*lengths: Length) -> Length:
    return max(lengths, key=lambda length: length[0])
