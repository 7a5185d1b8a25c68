"""The date patterns that are tried on a column, and the names of columns that hold a part of a date."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from itertools import product

import numpy as np
import pandas as pd

from anyformer.dates.style import DateStyle


def day_first(style: DateStyle) -> bool | None:
    """True if the day comes before the month; None if the month is a name, or one is absent."""
    letters = [part.letter for part in style.directives]
    return letters.index("d") < letters.index("m") if {"d", "m"} <= set(letters) else None


def agrees(style: DateStyle, dayfirst: bool | None) -> bool:
    """True if a style agrees with ``dayfirst``, which does not concern styles that begin with the year."""
    if dayfirst is None or style.pattern.startswith("%Y"):
        return True
    return day_first(style) in (None, dayfirst)


CLOCKS = (
    "%H:%M[:%S[.%f]]",
    "%H:%M:%S,%f",
    "%I:%M[:%S[.%f]] %p",
    "%I:%M[:%S]%p",
    "%I %p",
    "%I%p",
    "%H.%M[.%S]",
    *(f"%H:00{s}%e:00" for s in ("-", " - ")),
)


@lru_cache(maxsize=1)
def known_styles() -> list[tuple[DateStyle, int]]:
    """Return the styles that are tried, with their tiers; a higher tier is used only where no lower one fits."""
    rare = [f"%Y{s}%d{s}%m[ {CLOCKS[0]}]" for s in "-/."] + ["%d%m%Y", "%m%d%Y", "%y%m%d", "%G%V"]
    tiers = [[*_moments(), *_periods()], rare, ["%y-%b", "%y %b"]]
    return [
        (DateStyle(pattern), tier)
        for tier, patterns in enumerate(tiers)
        for pattern in dict.fromkeys(patterns)
    ]


def _each(*choices: Iterable[str]) -> list[str]:
    return ["".join(chosen) for chosen in product(*choices)]


def _moments() -> list[str]:
    """Return patterns of days, with and without times."""
    years = [f"%Y{s}%m{s}%d" for s in "-/. "] + ["%Y%m%d", "%Y-%j"]
    numbers = [
        f"{a}{s}{b}{s}{y}" for a, b in (("%d", "%m"), ("%m", "%d")) for s in "./- " for y in ("%Y", "%y")
    ]
    numbers += [f"%y{s}%m{s}%d" for s in "-/. "]
    names = [f"%d{s}%b{s}{y}" for s in ("-", " ", "/", ".", "") for y in ("%Y", "%y")]
    names += [f"%Y{s}%b{s}%d" for s in ("-", " ", "/", "")] + [
        "%d. %b %Y",
        "%d %b, %Y",
        "%b-%d-%Y",
        "%b. %d, %Y",
    ]
    names += ["%b %d, %Y", "%b %d,%Y", "%b %d %Y", "%d de %b de %Y", "%o de %b de %Y", "%d de %b del %Y"]
    ordinals = ["%o %b %Y", "%o %b, %Y", "%b %o, %Y", "%b %o %Y", "%o of %b %Y", "%o of %b, %Y"]
    ordinals += ["%o-%b-%Y", "%o-%b-%y", "%o %b %y"]
    after = [
        "%d %b %Y",
        "%d %b, %Y",
        "%b %d, %Y",
        "%b %d %Y",
        "%d. %b %Y",
        "%d de %b de %Y",
        "%d-%b-%Y",
        "%d %b %y",
    ]
    after += [one for one in numbers if not one.startswith("%y") and " " not in one]
    names += ordinals + _each(["%a, ", "%a "], [*after, "%Y-%m-%d", *ordinals[:6]])
    full = years + numbers + names
    found = _each(full, [f"[ {CLOCKS[0]}][%z]"]) + _each(years, [f"[T{CLOCKS[0]}][%z]"])
    found += (
        _each(full, [" "], CLOCKS[1:], ["[%z]"])
        + _each(full, [", "], CLOCKS)
        + _each(full, [" "], [CLOCKS[0], CLOCKS[2]], [" %z"])
    )
    found += _each(["%Y-%m-%d", "%Y/%m/%d", "%d.%m.%Y", "%d/%m/%Y"], [" %H", "T%H[%z]"])
    found += _each(["%d.%m.%Y", "%d.%m.%y", "%d. %b %Y"], [" ", ", "], [f"{CLOCKS[0]} Uhr"])
    found += _each(["%d/%m/%Y", "%d-%m-%Y"], [" ", " \u00e0 "], ["%Hh[%M]", CLOCKS[0]])
    found += _each([CLOCKS[0] + " "], years + numbers)
    found += ["%Y%m%dT%H%M[%S[.%f]][%z]", "%Y%m%d%H%M%S", "%Y%m%d%H%M", "%Y%m%d%H", "%d/%b/%Y:%H:%M:%S[ %z]"]
    return [*found, "%a %b %d %H:%M:%S %Y", "%a %b %d %H:%M:%S %z %Y"]


def _periods() -> list[str]:
    """Return patterns of months, quarters, weeks and years."""
    years = ["%Y", "%y"]
    found = [f"{a}{s}{b}" for a, b in (("%Y", "%m"), ("%m", "%Y")) for s in "-/."] + ["%Y%m"]
    found += _each(["%Y"], ["M", "m", "-M", " M"], ["%m"]) + _each(["%Y"], ["-", " ", "/", ""], ["%b"])
    found += _each(["%b"], ["-", " ", "/", ".", "", ", ", " '", "'"], years)
    found += _each(["%b"], [" de ", " of "], ["%Y"])
    found += _each(years, ["", "-", " ", "/", ":"], ["Q%q", "q%q", "T%q", "H%h", "h%h", "S%h"])
    found += _each(
        ["Q%q", "q%q", "%qQ", "T%q", "%qT", "%q. Quartal", "H%h", "h%h", "S%h", "%hH", "%hS", "%h. Halbjahr"],
        ["", "-", " ", "/", " '", "'"],
        years,
    )
    found += _each(["%G"], ["-", "", " ", "/"], ["W%V", "KW%V", "KW %V"], ["", "-%u", "%u"])
    found += _each(["%^q"], [" ", "-", "/", ".", " kw. "], years)
    found += _each(["%Y"], [" ", "-", "/", ".", ":"], ["%^q"])
    found += ["%Y:%q", "%Y.%q", "%Y %qQ", "%Y%qQ", "%Y-%qQ"]
    found += _fiscal()
    return [*found, *_each(["W%V", "KW%V", "KW %V"], ["-", " ", "/"], ["%G"]), "%Y"]


def _fiscal() -> list[str]:
    """Patterns of years that do not begin in January, and their quarters."""
    marks = ["FY", "FY ", "FY-", "FY'", "fy"]
    years = [*_each(marks, ["%Y", "%y"]), *_each(["", *marks], ["%Y"], "/-", ["%E", "%-E"])]
    quarters = _each(years, [" ", "-", ""], ["Q%q"]) + _each(["Q%q", "%qQ"], [" ", "-", ""], years)
    return [*years, *quarters]


_TIMES = (
    "%H:%M[:%S[.%f]]",
    "%Hh[%M]",
    "%H h",
    "%H Uhr",
    "h%H",
    "H%H",
    "HE%H",
    "HE %H",
    "%I:%M %p",
    "%I %p",
    "%I%p",
    *(f"%H{m}{s}%e{m}" for m in ("", ":00") for s in ("-", " - ", "\N{EN DASH}", " \N{EN DASH} ", " to ")),
)
#: By directive, names of columns that hold this part of a date, letters only, and patterns of their values.
PARTS = {
    "%Y": ("year yr yyyy yy jahr annee année anno ano año jaar", ("%Y", "%y")),
    "%b": ("month mon mo mnth mm monat mois mes mese mês maand monthname", ("%-m", "%b")),
    "%h": ("half halfyear semester semestre halbjahr", ("%h", "H%h", "h%h", "S%h")),
    "%q": ("quarter qtr q quartal trimestre kwartaal", ("%q", "Q%q", "q%q", "T%q")),
    "%V": (
        "week wk isoweek woche semaine semana settimana weeknum weeknumber weekno kw",
        ("%-V", "W%V", "KW%V"),
    ),
    "%d": ("day dd dy dom tag jour dayofmonth día dia giorno dag", ("%-d", "%o")),
    "%j": ("doy dayofyear yday yearday julianday julday jday jourdelannée tagdesjahres", ("%-j",)),
    "%H": (
        "hour hr hh stunde heure hora ora uur hourofday hourending hourbeginning he hrend",
        ("%-H", *_TIMES),
    ),
    "%t": ("hhmm hhmmss hrmn hourmin hourminute timehhmm timehhmmss", ("%4t", "%6t")),
    "%M": ("minute min minutes minuut minuto", ("%-M",)),
    "%S": ("second sec seconds", ("%-S",)),
    "%n": (
        "period settlementperiod tradingperiod interval deliveryinterval slot timeslot halfhour quarterhour "
        "minuteofday periode période periodo período viertelstunde",
        ("%n",),
    ),
}
TIMES_OF_DAY = ("%t", "%n", "%H", "%M", "%S")
#: Numbers of equal parts into which a day may be divided.
_COUNTS = (24, 48, 96, 144, 288, 1440)


def part_of(name: str) -> str | None:
    """Return the directive of the part of a date that a column holds, by its name; None if it holds none."""
    bare = re.sub(r"[\W_]+", "", name.lower())
    return next((part for part, (names, _) in PARTS.items() if bare in names.split()), None)


def part_of_day(numbers: np.ndarray) -> str | None:
    """Return the directive for numbers (N,) of a day's equal parts, if all parts occur; else None.

    Days on which clocks are set back have a few more parts, which are not read.
    """
    known = numbers[np.isfinite(numbers)]
    if not len(known) or (known != np.rint(known)).any():
        return None
    there = set(known.astype(np.int64).tolist())
    for count in _COUNTS:
        for first in (1, 0):
            whole = set(range(first, first + count))
            if whole <= there and np.mean(known >= first + count) < 0.01 and known.min() == first:
                return f"%{'' if first else '0'}{count}n"
    return None


def clock_in_one(texts: pd.Series | None) -> str | None:
    """The directive for texts (N,) that are hours and minutes, or seconds too, in one number; None for any other.

    Numbers below 100 alone may be hours, or minutes, and are not read.
    """
    known = None if texts is None else texts.dropna()
    if known is None or known.empty or not known.str.fullmatch(r"\d{1,6}").all():
        return None
    numbers = known.astype("int64")
    for digits in (4, 6):
        minutes, hours = numbers // 10 ** (digits - 4), numbers // 10 ** (digits - 2)
        if (minutes % 100 < 60).all() and hours.max() >= 1 and (hours <= 24).all():
            return f"%{digits}t"
    return None
