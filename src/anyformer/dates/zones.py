"""Time zones, by the names of the tz database or as a fixed offset such as ``+01:00``."""

from __future__ import annotations

import re
from functools import lru_cache
from zoneinfo import available_timezones

import numpy as np
import pandas as pd

from anyformer.dates.names import ZONES
from anyformer.registry import nearest
from anyformer.spelling import option

#: Zones that are tried first, as others may agree with one of these on the given dates.
_USUAL = (
    "Europe/Berlin", "Europe/London", "Europe/Helsinki", "America/New_York", "America/Chicago", "America/Denver",
    "America/Los_Angeles", "America/Halifax", "America/St_Johns", "Australia/Sydney", "Australia/Adelaide",
    "Pacific/Auckland", "America/Sao_Paulo", "America/Santiago", "Asia/Jerusalem", "Asia/Tehran", "Africa/Cairo",
)  # fmt: skip


def to_clock(instants: np.ndarray, zone: str | None) -> np.ndarray:
    """Return the local time in ``zone`` (datetime64[us]) of instants in UTC; unchanged without a zone."""
    if zone in (None, "UTC"):
        return instants
    index = pd.DatetimeIndex(instants).tz_localize("UTC").tz_convert(zone).tz_localize(None)
    return index.to_numpy().astype("datetime64[us]")


def to_instants(clock: np.ndarray, zone: str | None) -> np.ndarray:
    """Return the instants in UTC of local times in ``zone``.

    Of the repeated hour in autumn the first is meant; the skipped one in spring stands for the moment of change.
    """
    if zone in (None, "UTC"):
        return clock
    first = np.ones(len(clock), bool)
    index = pd.DatetimeIndex(clock).tz_localize(zone, ambiguous=first, nonexistent="shift_forward")
    return index.tz_convert("UTC").tz_localize(None).to_numpy().astype("datetime64[us]")


def check_zone(zone: str) -> str:
    """Return ``zone``; ``ValueError`` with the nearest names if it is neither in the tz database nor an offset."""
    if zone in available_timezones() or re.fullmatch(r"[+-]\d\d:\d\d", zone):
        return zone
    near = nearest(zone, list(available_timezones()))
    close = near if "did you mean" in near else ""
    told = f"; {zone} is {fixed(ZONES[zone])}" if zone in ZONES else close
    raise ValueError(
        f"{option('tz')} must name a time zone such as Europe/Berlin, or an offset such as +01:00, got {zone!r}{told}"
    )


@lru_cache(maxsize=8)
def abbreviations(zone: str) -> dict[str, float]:
    """Return the abbreviations of ``zone``, such as CST and CDT, with their minutes ahead of UTC."""
    months = pd.date_range("1990-01-15", "2037-12-15", freq="MS").tz_localize("UTC").tz_convert(zone)
    return {moment.tzname(): moment.utcoffset().total_seconds() / 60 for moment in months}


def in_order(
    clock: np.ndarray, zone: str | None, codes: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the instants in UTC of local times (N,) in ``zone``; the order of rows resolves repeated hours.

    Args:
        codes: of the groups of rows, (N,), in each of which times rise, or fall.

    Returns:
        the instants; a mask of the times that occur twice; a mask of those that clocks skip.
    """
    first, there = to_instants(clock, zone), ~np.isnat(clock)
    if zone in (None, "UTC"):
        return first, np.zeros(len(clock), bool), np.zeros(len(clock), bool)
    index = pd.DatetimeIndex(clock).tz_localize(
        zone, ambiguous=np.zeros(len(clock), bool), nonexistent="shift_forward"
    )
    second = index.tz_convert("UTC").tz_localize(None).to_numpy().astype("datetime64[us]")
    days_only = (
        clock[there] == clock[there].astype("datetime64[D]")
    ).all()  # clocks of some zones skip midnight
    twice = there & (first != second) & ~days_only
    skipped = there & (to_clock(first, zone) != clock) & ~days_only
    keys = pd.DataFrame({"clock": clock, "code": codes})
    moves = np.diff(clock).astype(np.int64)[(np.diff(codes) == 0) & there[1:] & there[:-1]]
    falls = (moves < 0).sum() > (moves > 0).sum()
    again = keys.duplicated(keep="last" if falls else "first").to_numpy()
    return np.where(twice & again, second, first), twice, skipped


def offsets_at(instants: np.ndarray, zone: str | None) -> np.ndarray:
    """Return the minutes that ``zone`` is ahead of UTC at these instants; NaN without a zone."""
    if zone is None:
        return np.full(len(instants), np.nan)
    ahead = (to_clock(instants, zone) - instants).astype("timedelta64[us]").astype(np.float64) / 60e6
    return np.where(np.isnat(instants), np.nan, ahead)


def name_of(column: pd.Series) -> str | None:
    """Return the zone of a column of datetimes, a name of the tz database or an offset; None if it has none."""
    tz = getattr(column.dtype, "tz", None)
    if tz is None:
        return None
    name = getattr(tz, "key", None) or getattr(tz, "zone", None)
    if name:
        return str(name)
    present = column.dropna()
    ahead = present.iloc[0].utcoffset() if len(present) else None
    return fixed(ahead.total_seconds() / 60 if ahead else 0.0)


def fixed(minutes: float) -> str:
    """Return the zone with a fixed offset of ``minutes`` ahead of UTC."""
    whole = round(abs(minutes))
    return "UTC" if not whole else f"{'-' if minutes < 0 else '+'}{whole // 60:02}:{whole % 60:02}"


def zone_of(instants: np.ndarray, offsets: np.ndarray) -> str | None:
    """Return a zone with these offsets in minutes (N,) at these instants (N,); None if there is none."""
    usual = np.unique(offsets)
    if len(usual) == 1:
        return fixed(float(usual[0]))
    order = np.argsort(instants, kind="stable")
    instants, offsets = instants[order], offsets[order]
    changes = np.flatnonzero(np.diff(offsets))
    if len(changes) > 0.5 * len(offsets):
        return None
    near = np.unique(np.concatenate([changes, changes + 1, np.linspace(0, len(order) - 1, 50).astype(int)]))
    some = near[np.linspace(0, len(near) - 1, min(len(near), 200)).astype(int)]
    for zone in _all_zones():
        if not np.array_equal(offsets_at(instants[some], zone), offsets[some]):
            continue
        if np.array_equal(offsets_at(instants, zone), offsets):
            return zone
    return None


@lru_cache(maxsize=1)
def _all_zones() -> list[str]:
    known = available_timezones()
    usual = [zone for zone in _USUAL if zone in known]
    places = sorted(
        zone for zone in known if "/" in zone and not zone.startswith(("Etc/", "posix/", "right/"))
    )
    return [*usual, *(zone for zone in places if zone not in usual)]
