"""The words in dates: names of months and weekdays in several languages, ordinals, and names of time zones."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Mapping
from functools import lru_cache

import numpy as np
from pydantic import BaseModel, ConfigDict

MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
    "December",
)  # fmt: skip
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
ROMAN = ("I", "II", "III", "IV")
SHORT = tuple(name[:3] for name in MONTHS)
LANGUAGES = (
    "English, German, French, Spanish, Italian, Portuguese, Dutch, Swedish, Danish, Norwegian and Polish"
)

#: The names of the months, a line for each language and length. No word names two months.
_MONTHS = """
January February March April May June July August September October November December
Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec
Jan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec
Jan. Feb. March April May June July Aug. Sept. Oct. Nov. Dec.
Januar Februar März April Mai Juni Juli August September Oktober November Dezember
Jänner Feber März April Mai Juni Juli August September Oktober November Dezember
Jan Feb Mär Apr Mai Jun Jul Aug Sep Okt Nov Dez
Jan Feb Mrz Apr Mai Jun Jul Aug Sep Okt Nov Dez
Jan. Feb. März Apr. Mai Juni Juli Aug. Sept. Okt. Nov. Dez.
janvier février mars avril mai juin juillet août septembre octobre novembre décembre
janv. févr. mars avr. mai juin juil. août sept. oct. nov. déc.
janv. févr. mars avril mai juin juil. août sept. oct. nov. déc.
jan fév mar avr mai jun jul aoû sep oct nov déc
jan fév mars avr mai juin juil août sep oct nov déc
enero febrero marzo abril mayo junio julio agosto septiembre octubre noviembre diciembre
enero febrero marzo abril mayo junio julio agosto setiembre octubre noviembre diciembre
ene feb mar abr may jun jul ago sep oct nov dic
ene feb mar abr may jun jul ago sept oct nov dic
gennaio febbraio marzo aprile maggio giugno luglio agosto settembre ottobre novembre dicembre
gen feb mar apr mag giu lug ago set ott nov dic
gen febbr mar apr magg giu lug ago sett ott nov dic
janeiro fevereiro março abril maio junho julho agosto setembro outubro novembro dezembro
jan fev mar abr mai jun jul ago set out nov dez
januari februari maart april mei juni juli augustus september oktober november december
jan feb mrt apr mei jun jul aug sep okt nov dec
jan feb maa apr mei jun jul aug sept okt nov dec
januari februari mars april maj juni juli augusti september oktober november december
jan feb mar apr maj jun jul aug sep okt nov dec
januar februar marts april maj juni juli august september oktober november december
januar februar mars april mai juni juli august september oktober november desember
jan feb mar apr mai jun jul aug sep okt nov des
styczeń luty marzec kwiecień maj czerwiec lipiec sierpień wrzesień październik listopad grudzień
stycznia lutego marca kwietnia maja czerwca lipca sierpnia września października listopada grudnia
sty lut mar kwi maj cze lip sie wrz paź lis gru
"""

#: The same for the days of the week, from Monday.
_WEEKDAYS = """
Monday Tuesday Wednesday Thursday Friday Saturday Sunday
Mon Tue Wed Thu Fri Sat Sun
Mon Tues Wed Thur Fri Sat Sun
Mon Tues Wed Thurs Fri Sat Sun
Montag Dienstag Mittwoch Donnerstag Freitag Samstag Sonntag
Montag Dienstag Mittwoch Donnerstag Freitag Sonnabend Sonntag
Mo Di Mi Do Fr Sa So
Mon Die Mit Don Fre Sam Son
lundi mardi mercredi jeudi vendredi samedi dimanche
lun mar mer jeu ven sam dim
lunes martes miércoles jueves viernes sábado domingo
lun mar mié jue vie sáb dom
lunedì martedì mercoledì giovedì venerdì sabato domenica
lun mar mer gio ven sab dom
segunda-feira terça-feira quarta-feira quinta-feira sexta-feira sábado domingo
segunda terça quarta quinta sexta sábado domingo
seg ter qua qui sex sáb dom
maandag dinsdag woensdag donderdag vrijdag zaterdag zondag
ma di wo do vr za zo
måndag tisdag onsdag torsdag fredag lördag söndag
mån tis ons tors fre lör sön
mandag tirsdag onsdag torsdag fredag lørdag søndag
man tir ons tor fre lør søn
poniedziałek wtorek środa czwartek piątek sobota niedziela
pon wt śr czw pt sob niedz
"""

#: Minutes that the clocks of a zone are ahead of UTC, by the zone's name.
ZONES = {
    "Z": 0, "UTC": 0, "GMT": 0, "WET": 0, "WEST": 60, "BST": 60, "CET": 60, "CEST": 120, "MEZ": 60, "MESZ": 120,
    "EET": 120, "EEST": 180, "MSK": 180, "SAST": 120, "EST": -300, "EDT": -240, "CDT": -300, "MST": -420, "MDT": -360,
    "PST": -480, "PDT": -420, "AKST": -540, "AKDT": -480, "HST": -600, "NST": -210, "NDT": -150, "ADT": -180,
    "BRT": -180, "ART": -180, "CLT": -240, "CLST": -180, "PKT": 300, "JST": 540, "KST": 540, "HKT": 480, "SGT": 480,
    "AWST": 480, "ACST": 570, "ACDT": 630, "AEST": 600, "AEDT": 660, "NZST": 720, "NZDT": 780,
}  # fmt: skip
#: Names that stand for several zones, or for a zone at any time of the year.
AMBIGUOUS = {
    "IST": "India (+05:30), Israel (+02:00) or Ireland (+01:00)",
    "CST": "the centre of North America (-06:00), China (+08:00) or Cuba (-05:00)",
    "AST": "the Atlantic (-04:00) or Arabia (+03:00)",
    "GST": "the Gulf (+04:00) or South Georgia (-02:00)",
    "SST": "Samoa (-11:00) or Singapore (+08:00)",
    "ECT": "Ecuador (-05:00) or the East Caribbean (-04:00)",
    "ET": "EST (-05:00) or EDT (-04:00)",
    "CT": "CST (-06:00) or CDT (-05:00)",
    "MT": "MST (-07:00) or MDT (-06:00)",
    "PT": "PST (-08:00) or PDT (-07:00)",
}


class Names(BaseModel):
    """The words in a file's dates, where they are not English names in the usual forms.

    Attributes:
        months, weekdays: the names, 12 and 7.
        zones: pairs of minutes ahead of UTC and the name of a zone.
        first: the first day of a month, such as ``1er``, if other days are plain numbers.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    months: tuple[str, ...] | None = None
    weekdays: tuple[str, ...] | None = None
    zones: tuple[tuple[int, str], ...] = ()
    first: str | None = None

    def of(self, letter: str) -> tuple[str, ...] | None:
        """Return the names that ``%b`` or ``%a`` writes."""
        return self.months if letter == "b" else self.weekdays


ENGLISH = Names()


def number_of(letter: str, word: str) -> int:
    """Return the number from 1 of the month (``b``) or weekday (``a``) of this name; 0 if empty, -1 if unknown."""
    return _vocabulary(letter).get(_plain(word), -1) if word else 0


def zone_offset(text: str, local: Mapping[str, float]) -> float:
    """Return the minutes ahead of UTC of an offset or a zone's name, ``local`` ones first; NaN if unknown."""
    if text in local:
        return local[text]
    if text in ZONES:
        return ZONES[text]
    sign = next((mark for mark in "+-" if mark in text), None)
    if sign is None:
        return np.nan
    digits = text.partition(sign)[2].replace(":", "")
    minutes = 60 * int(digits[:2]) + int(digits[2:] or 0)
    return -minutes if sign == "-" else minutes


def names_like(letter: str, seen: Mapping[int, str]) -> tuple[str, ...]:
    """Return all month or weekday names in the style of those ``seen``, which are given by number from 1."""
    best = max(
        _candidates(letter), key=lambda names: sum(names[number - 1] == word for number, word in seen.items())
    )
    return tuple(seen.get(number, name) for number, name in enumerate(best, 1))


def unread_words(text: str) -> list[str]:
    """Return the words of a text that are neither names of months or weekdays nor zones."""
    words = [word for word in "".join(c if c.isalpha() else " " for c in text).split() if len(word) > 2]
    return [
        word
        for word in words
        if number_of("b", word) < 1 and number_of("a", word) < 1 and word.upper() not in ZONES
    ]


@lru_cache(maxsize=2)
def _vocabulary(letter: str) -> dict[str, int]:
    return {_plain(name): number for names in _rows(letter) for number, name in enumerate(names, 1)} | (
        {"maerz": 3, "jaenner": 1} if letter == "b" else {}
    )


def _rows(letter: str) -> list[list[str]]:
    return [line.split() for line in (_MONTHS if letter == "b" else _WEEKDAYS).strip().split("\n")]


def _plain(word: str) -> str:
    """Return a word in lower case, without accents and the point at its end."""
    return _bare(word).lower().removesuffix(".")


def _bare(word: str) -> str:
    return "".join(c for c in unicodedata.normalize("NFD", word) if not unicodedata.combining(c))


@lru_cache(maxsize=2)
def _candidates(letter: str) -> list[tuple[str, ...]]:
    """Return the names in all forms: with points and without, with accents and without, in upper and lower case."""
    found: dict[tuple[str, ...], None] = {}
    for row in _rows(letter):
        for pointed in _points(row):
            for marked in (pointed, [_bare(name) for name in pointed]):
                for write in (str, str.lower, str.upper, str.title):
                    found[tuple(write(name) for name in marked)] = None
    return list(found)


def _points(row: list[str]) -> Iterator[list[str]]:
    without = [name.removesuffix(".") for name in row]
    return iter((row, without, [f"{name}." for name in without]))
