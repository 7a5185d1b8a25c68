"""The ways in which dates are looked for in a column, and the names of columns that hold a part of one."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from itertools import product

from anyformer.tasks.datestyle import Style


def day_first(style: Style) -> bool | None:
    """Whether the day comes before the month; None where the month is a name, or one of them is not there."""
    letters = [part.letter for part in style.directives]
    return letters.index("d") < letters.index("m") if {"d", "m"} <= set(letters) else None


def agrees(style: Style, dayfirst: bool | None) -> bool:
    """Whether a style may be taken; of one with the year in front, ``dayfirst`` says nothing."""
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
)


@lru_cache(maxsize=1)
def known_styles() -> list[tuple[Style, int]]:
    """The styles that are looked for; one with a higher number only where none with a lower one fits."""
    rare = [f"%Y{s}%d{s}%m[ {CLOCKS[0]}]" for s in "-/."] + ["%d%m%Y", "%m%d%Y", "%y%m%d", "%G%V"]
    tiers = [[*_moments(), *_periods()], rare, ["%y-%b", "%y %b"]]
    return [
        (Style(pattern), tier) for tier, patterns in enumerate(tiers) for pattern in dict.fromkeys(patterns)
    ]


def _each(*choices: Iterable[str]) -> list[str]:
    return ["".join(chosen) for chosen in product(*choices)]


def _moments() -> list[str]:
    """Patterns of days and of times on them."""
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
    names += ["%b %d, %Y", "%b %d,%Y", "%b %d %Y"]
    names += _each(["%a, ", "%a "], ["%d %b %Y", "%d %b, %Y", "%b %d, %Y", "%b %d %Y", "%Y-%m-%d"])
    full = years + numbers + names
    found = _each(full, [f"[ {CLOCKS[0]}][%z]"]) + _each(years, [f"[T{CLOCKS[0]}][%z]"])
    found += (
        _each(full, [" "], CLOCKS[1:], ["[%z]"])
        + _each(full, [", "], CLOCKS)
        + _each(full, [" "], [CLOCKS[0], CLOCKS[2]], [" %z"])
    )
    found += _each(["%Y-%m-%d", "%Y/%m/%d", "%d.%m.%Y", "%d/%m/%Y"], [" %H", "T%H[%z]"])
    found += _each([CLOCKS[0] + " "], years + numbers)
    found += ["%Y%m%dT%H%M[%S[.%f]][%z]", "%Y%m%d%H%M%S", "%Y%m%d%H%M", "%Y%m%d%H", "%d/%b/%Y:%H:%M:%S[ %z]"]
    return [*found, "%a %b %d %H:%M:%S %Y", "%a %b %d %H:%M:%S %z %Y"]


def _periods() -> list[str]:
    """Patterns of months, quarters, weeks and years."""
    years = ["%Y", "%y"]
    found = [f"{a}{s}{b}" for a, b in (("%Y", "%m"), ("%m", "%Y")) for s in "-/."] + ["%Y%m"]
    found += _each(["%Y"], ["M", "m", "-M", " M"], ["%m"]) + _each(["%Y"], ["-", " ", "/", ""], ["%b"])
    found += _each(["%b"], ["-", " ", "/", ".", "", ", ", " '", "'"], years)
    found += _each(years, ["", "-", " ", "/", ":"], "Qq", ["%q"])
    found += _each(["Q%q", "q%q", "%qQ"], ["", "-", " ", "/"], years)
    found += _each(["%G"], ["-", "", " "], ["W%V"], ["", "-%u", "%u"])
    return [*found, "W%V-%G", "W%V %G", "%Y"]


#: The names that columns with parts of a date have, and how their values may be written.
PARTS = {
    "%Y": ("year yr yyyy jahr annee année anno ano año", ("%Y",)),
    "%b": ("month mon mo mnth mm monat mois mes mese", ("%-m", "%b")),
    "%q": ("quarter qtr q quartal trimestre", ("%q", "Q%q", "q%q")),
    "%V": ("week wk isoweek woche semaine weeknum week_number weekno", ("%-V", "W%V")),
    "%d": ("day dd dom tag jour day_of_month", ("%-d",)),
    "%H": ("hour hr hh stunde heure", ("%-H",)),
    "%M": ("minute min minutes", ("%-M",)),
    "%S": ("second sec seconds", ("%-S",)),
}


def part_of(name: str) -> str | None:
    """The directive of the part of a date that a column of this name holds, by its name; None where it holds none."""
    return next((part for part, (names, _) in PARTS.items() if name.strip().lower() in names.split()), None)
