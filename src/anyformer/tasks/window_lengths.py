"""The lengths of a forecast's windows where the user does not give them."""

from __future__ import annotations

from anyformer.errors import DataError
from anyformer.spelling import option
from anyformer.tasks.base import check_integer

REACHES_BACK = (
    "windows reach back over the borders of the splits, as those inside a split would be shorter than the season or "
    "the horizon; {} keeps every value in one split"
)
"""The remark on windows that may lie in two splits without the user's word, with a place for the option."""


def choose_window(
    room: int,
    train: int,
    season: int | None,
    context: int | None,
    horizon: int | None,
    name: str,
    reach_back: bool | None,
) -> tuple[int, int, bool]:
    """Return context and horizon, and whether the context may lie in the split before.

    Two thirds of a split of ``room`` steps hold a window, or a horizon where the context may lie in the split before;
    it is then at most half of what the ``train`` steps leave beside a horizon.
    """
    for argument, value in (("context", context), ("horizon", horizon)):
        if value is not None:
            check_integer(argument, value, low=1)
    most = max(4, 2 * room // 3)
    if horizon is None:
        horizon = max(1, min(season or 12, 48, most // 4))
    if context is None:
        wanted = min(max(4 * horizon, 2 * (season or 0), 32), 512)
        context = min(wanted, most - horizon)
        if reach_back is None and horizon <= room:
            reach_back = context < max(season or 0, horizon)
        if reach_back:
            context = min(wanted, max(most, train - horizon) // 2)
        context = max(2, context)
    if (0 if reach_back else context) + horizon > room:
        more = (
            f"; {option('reach_back', True)} lets the context lie in the split before"
            if horizon <= room
            else ""
        )
        raise DataError(
            f"{name}: context {context} + horizon {horizon} are longer than the {room} steps of a test split{more}"
        )
    return context, horizon, bool(reach_back)
