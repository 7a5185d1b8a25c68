"""The ways in which dates are looked for in a column, and the names of columns that hold a part of one."""

from __future__ import annotations

from functools import lru_cache

from anyformer.tasks.datestyle import Style


def day_first(style: Style) -> bool | None:
    """Whether the day comes before the month; None where the month is a name, or one of them is not there."""
    letters = [part.letter for part in style.directives]
    return letters.index("d") < letters.index("m") if {"d", "m"} <= set(letters) else None


def agrees(style: Style, dayfirst: bool | None) -> bool:
    """Whether a style may be taken: with years of four digits in front, ``dayfirst`` says nothing."""
    found = day_first(style)
    return dayfirst is None or found is None or style.pattern.startswith("%Y") or found == dayfirst


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
    years = [f"%Y{s}%m{s}%d" for s in "-/. "] + ["%Y%m%d", "%Y-%j"]
    days = [
        f"{order}{s}{year}".replace("*", s)
        for order in ("%d*%m", "%m*%d")
        for s in "./- "
        for year in ("%Y", "%y")
    ]
    days += [f"%y{s}%m{s}%d" for s in "-/. "]
    names = [f"%d{s}%b{s}{year}" for s in ("-", " ", "/", ".", "") for year in ("%Y", "%y")]
    names += [
        "%d. %b %Y",
        "%d %b, %Y",
        "%d-%b, %Y",
        "%b %d, %Y",
        "%b %d,%Y",
        "%b %d %Y",
        "%b-%d-%Y",
        "%b. %d, %Y",
    ]
    names += [f"%Y{s}%b{s}%d" for s in ("-", " ", "/", "")]
    names += [
        f"%a{s}{rest}"
        for s in (", ", " ")
        for rest in ("%d %b %Y", "%d %b, %Y", "%b %d, %Y", "%b %d %Y", "%Y-%m-%d")
    ]
    full = years + days + names
    found = [(f"{date}[ {CLOCKS[0]}][%z]", 0) for date in full]
    found += [(f"{date}[T{CLOCKS[0]}][%z]", 0) for date in years]
    found += [(f"{date} {CLOCKS[0]} %z", 0) for date in full]
    found += [
        (f"{date}{sep}{clock}", 0)
        for date in full
        for sep in (" ", ", ")
        for clock in CLOCKS[0 if sep != " " else 1 :]
    ]
    found += [
        (f"{date}{rest}", 0)
        for date in ("%Y-%m-%d", "%Y/%m/%d", "%d.%m.%Y", "%d/%m/%Y")
        for rest in (" %H", "T%H[%z]")
    ]
    found += [("%Y%m%dT%H%M[%S[.%f]][%z]", 0), ("%Y%m%d%H%M%S", 0), ("%Y%m%d%H%M", 0), ("%Y%m%d%H", 0)]
    found += [("%d/%b/%Y:%H:%M:%S[ %z]", 0), ("%a %b %d %H:%M:%S %Y", 0), ("%a %b %d %H:%M:%S %z %Y", 0)]
    found += [(f"{CLOCKS[0]} {date}", 0) for date in years + days]
    found += [(f"{a}{s}{b}", 0) for a, b in (("%Y", "%m"), ("%m", "%Y")) for s in "-/."] + [("%Y%m", 0)]
    found += [(f"%Y{m}%m", 0) for m in ("M", "m", "-M", " M")]
    found += [(f"%b{s}{year}", 0) for s in ("-", " ", "/", ".", "", ", ", " '", "'") for year in ("%Y", "%y")]
    found += [(f"%Y{s}%b", 0) for s in ("-", " ", "/", "")]
    found += [(f"{year}{s}{q}%q", 0) for year in ("%Y", "%y") for s in ("", "-", " ", "/", ":") for q in "Qq"]
    found += [
        (f"{q}{s}{year}", 0)
        for year in ("%Y", "%y")
        for s in ("", "-", " ", "/")
        for q in ("Q%q", "q%q", "%qQ")
    ]
    found += [(f"%G{s}W%V{u}", 0) for s in ("-", "", " ") for u in ("", "-%u", "%u")] + [
        ("W%V-%G", 0),
        ("W%V %G", 0),
    ]
    found += [("%Y", 0)]
    found += [(f"%Y{s}%d{s}%m[ {CLOCKS[0]}]", 1) for s in "-/."] + [
        ("%d%m%Y", 1),
        ("%m%d%Y", 1),
        ("%y%m%d", 1),
        ("%G%V", 1),
    ]
    found += [(f"%y{s}%b", 2) for s in ("-", " ")]
    return [(Style(pattern), tier) for pattern, tier in dict(found).items()]


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
