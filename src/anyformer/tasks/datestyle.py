"""How dates are written: one pattern for all values of a column, which reads them and writes further ones alike.

A pattern is written as for ``strftime``, with optional parts in brackets: ``%d.%m.%Y[ %H:%M[:%S]]``.

=========  ==========================================  =========  ===========================================
``%Y %y``  year, of four or two digits                 ``%H %I``  hour, of 24 or 12
``%m``     month                                       ``%M %S``  minute, second
``%b %B``  name of the month, short or long            ``%f``     fraction of a second, up to nine digits
``%d``     day of the month                            ``%p``     AM or PM
``%j``     day of the year, of three digits            ``%z``     ``Z``, ``UTC``, or an offset such as ``+01:00``
``%q``     quarter                                     ``%G %V``  year and week of ISO 8601
``%a %A``  name of the weekday, which must agree       ``%u``     weekday from 1, Monday, to 7
=========  ==========================================  =========  ===========================================

Months and hours are read with one digit or two. For writing, ``%-d`` leaves out the leading zero, ``%3f`` gives
milliseconds, ``%:z`` parts hours and minutes by a colon and ``%-z`` leaves out the minutes; ``%^b`` is in upper case
and ``%~b`` in lower; ``%1H`` writes midnight as 24 hours of the day before. Names are English.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from anyformer.spelling import option

MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
    "December",
)  # fmt: skip
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_SHORT = [name[:3] for name in MONTHS]
_MONTHS = "|".join([*MONTHS, "Sept", *_SHORT])
_DAYS = "|".join([*WEEKDAYS, "Tues", "Thur", "Thurs", *(name[:3] for name in WEEKDAYS)])
NAMES = f"{_MONTHS}|{_DAYS}|UTC|GMT"
"""The words that directives read, as an expression without case."""

#: What a directive reads.
_READS = {
    "Y": r"\d{4}", "y": r"\d{2}", "G": r"\d{4}", "j": r"\d{3}", "u": "[1-7]", "q": "[1-4]", "f": r"\d{1,9}",
    "m": r"\d{1,2}", "d": r"\d{1,2}", "H": r"\d{1,2}", "I": r"\d{1,2}", "V": r"\d{1,2}", "M": r"\d{2}", "S": r"\d{2}",
    "p": r"[AaPp]\.?[Mm]\.?", "b": f"(?i:{_MONTHS})", "a": f"(?i:{_DAYS})",
    "z": r"Z|UTC|GMT|[+-]\d{2}(?::?\d{2})?",
}  # fmt: skip
_SAME = {"B": "b", "A": "a", "P": "p"}  # written otherwise, read alike
_MICROSECOND = {"H": 3_600_000_000, "M": 60_000_000, "S": 1_000_000}


@dataclass(frozen=True)
class Part:
    """A piece of a pattern: a directive (``letter``, with ``flag``), a literal text, or an optional run of pieces."""

    letter: str = ""
    flag: str = ""
    literal: str = ""
    optional: tuple[Part, ...] = ()

    def __str__(self) -> str:
        if self.optional:
            return "[" + "".join(map(str, self.optional)) + "]"
        return f"%{self.flag}{self.letter}" if self.letter else self.literal.replace("%", "%%")

    def directives(self) -> list[Part]:
        """The directives in it, in order."""
        return [self] if self.letter else [found for part in self.optional for found in part.directives()]


@dataclass(frozen=True)
class Parsed:
    """What texts say, each array ``(N,)``.

    Attributes:
        dates: datetime64[us], as on the clock of the place; NaT where a text does not fit.
        offsets: minutes that the clock is ahead of UTC, NaN where none is written; None where the pattern has none.
        first_year: of the hundred years that two digits stand for; None without such years.
        groups: the text of each directive, empty where its optional part is absent.
        finer: how many texts have fractions finer than a microsecond, which are cut off.
    """

    dates: np.ndarray
    offsets: np.ndarray | None
    first_year: int | None
    groups: dict[str, pa.Array]
    finer: int = 0


@dataclass(frozen=True)
class Style:
    """A way of writing dates; ``ValueError`` where the pattern is none.

    Args:
        pattern: see the module.
    """

    pattern: str

    def __post_init__(self) -> None:
        letters = [_SAME.get(part.letter, part.letter) for part in self.directives]
        again = [letter for letter in letters if letters.count(letter) > 1]
        if again:
            raise ValueError(f"{option('date_format')} has %{again[0]} twice, got {self.pattern!r}")
        if "G" in letters and "V" not in letters:
            raise ValueError(
                f"{option('date_format')} has %G, the year of a week, without %V, got {self.pattern!r}"
            )
        if not set(letters) & {"Y", "y", "G"}:
            raise ValueError(f"{option('date_format')} needs a year, %Y or %y, got {self.pattern!r}")

    @cached_property
    def parts(self) -> tuple[Part, ...]:
        """The pieces of the pattern."""
        return _parts(self.pattern)

    @property
    def directives(self) -> list[Part]:
        """All directives, also those of optional parts."""
        return [found for part in self.parts for found in part.directives()]

    @property
    def letters(self) -> set[str]:
        """The directives' letters, long and short names being one."""
        return {_SAME.get(part.letter, part.letter) for part in self.directives}

    @cached_property
    def regex(self) -> str:
        """A regular expression, for Python's ``re`` and for RE2, with a group a directive."""
        return "^" + _regex(self.parts) + "$"

    @cached_property
    def form(self) -> re.Pattern[str]:
        """The regular expression, compiled."""
        return re.compile(self.regex)

    @cached_property
    def literals(self) -> frozenset[str]:
        """The characters that every date in this style has."""
        return frozenset(part.literal for part in self.parts) - {"", " "}

    @cached_property
    def width(self) -> int:
        """The length of texts in digits only, to which the zero is added that numbers lose in front; 0 for others."""
        widths = {"Y": 4, "y": 2, "m": 2, "d": 2, "H": 2, "M": 2, "S": 2}
        bare = self.parts[0].letter in ("d", "m", "y") and all(part.letter in widths for part in self.parts)
        return sum(widths[part.letter] for part in self.parts) if bare else 0

    def parse(self, texts: pa.Array, first_year: int | None = None) -> Parsed:
        """Read texts.

        Args:
            texts: strings without blanks around them.
            first_year: of the hundred years that ``%y`` stands for; chosen from the texts where not given.
        """
        if self.width:
            texts = pc.utf8_lpad(texts, self.width, "0")
        found = pc.extract_regex(texts, self.regex)
        fits = np.array(pc.is_valid(found).to_numpy(zero_copy_only=False))
        groups = {letter: pc.struct_field(found, letter).fill_null("") for letter in self.letters}
        numbers = {letter: _number(letter, group) for letter, group in groups.items() if letter not in "zp"}
        if "y" in numbers and first_year is None:
            first_year = century(numbers["y"][fits])
        days, right = _days(numbers, len(texts), first_year)
        clock, fine = _clock(numbers, groups, len(texts))
        fits &= right & fine
        dates = days.astype("datetime64[us]") + clock.astype("timedelta64[us]")
        if "a" in numbers:
            given = numbers["a"]
            fits &= (given == 0) | ((days.astype(np.int64) + 3) % 7 + 1 == given)
        dates[~fits] = np.datetime64("NaT")
        finer = int((numbers["f"][fits] % 1000 > 0).sum()) if "f" in numbers else 0
        return Parsed(dates, _offsets(groups.get("z"), fits), first_year, groups, finer)

    def narrowed(self, parsed: Parsed) -> Style:
        """The style as the texts that fit it are written: optional parts settled, zeros, case and names as there."""
        fits = pa.array(~np.isnat(parsed.dates))
        seen = {letter: pc.filter(group, fits) for letter, group in parsed.groups.items()}
        bare = any(pc.min(pc.utf8_length(seen[letter])).as_py() == 1 for letter in "md" if letter in seen)
        return Style("".join(map(str, _narrowed(self.parts, seen, bare))))

    def show(self, date: np.datetime64, offset: float | None = None) -> str:
        """A date in this style; ``offset``, in minutes, is what ``%z`` writes, nothing where it is None or NaN."""
        moment: datetime = date.astype("datetime64[us]").item()
        late = moment.time() == time(0) and any(
            part.letter == "H" and part.flag.endswith("1") for part in self.directives
        )
        parts, moment = (_at_24(self.parts), moment - timedelta(days=1)) if late else (self.parts, moment)
        return _written(parts, moment, offset).rstrip()


def century(years: np.ndarray) -> int:
    """The first of the hundred years that two digits (N,) stand for.

    The years are taken to be the shortest run that holds them all (98, 99, 00, 01 are 1998 to 2001), as late as it
    can be without reaching more than five years into the future.
    """
    used = np.unique(years)
    if not len(used):
        return 1970
    gaps = np.diff(np.append(used, used[0] + 100))
    begin = int(used[(gaps.argmax() + 1) % len(used)])
    span = 100 - int(gaps.max())
    latest = datetime.now().year + 5
    return begin + 100 * ((latest - span - begin) // 100)


@lru_cache(maxsize=1024)
def _parts(pattern: str) -> tuple[Part, ...]:
    stack: list[list[Part]] = [[]]
    for piece in re.findall(r"%[-^~:]?\d?[A-Za-z%]|[\[\]]|.", pattern, flags=re.DOTALL):
        if piece == "[":
            stack.append([])
        elif piece == "]" and len(stack) > 1:
            inner = tuple(stack.pop())
            if not _holds(list(inner)):
                raise ValueError(
                    f"{option('date_format')} has brackets with no directive inside, got {pattern!r}"
                )
            stack[-1].append(Part(optional=inner))
        elif piece == "%%":
            stack[-1].append(Part(literal="%"))
        elif len(piece) > 1:
            letter = piece[-1]
            if _SAME.get(letter, letter) not in _READS:
                known = " ".join(f"%{name}" for name in [*_READS, *_SAME])
                raise ValueError(
                    f"{option('date_format')} has {piece}, which is not known, got {pattern!r}; known: {known}"
                )
            stack[-1].append(Part(letter=letter, flag=piece[1:-1]))
        elif piece in "%]":
            raise ValueError(f"{option('date_format')} has a lone {piece!r}, got {pattern!r}")
        else:
            stack[-1].append(Part(literal=piece))
    if len(stack) > 1:
        raise ValueError(f"{option('date_format')} has a bracket that is not closed, got {pattern!r}")
    return tuple(stack[0])


def _regex(parts: tuple[Part, ...], before: bool = False) -> str:
    """The expression; ``before`` says whether a directive of digits stands right before, so that widths are fixed."""
    found = ""
    for i, part in enumerate(parts):
        if part.optional:
            found += f"(?:{_regex(part.optional, before)})?"
        elif part.letter:
            letter = _SAME.get(part.letter, part.letter)
            reads = _READS[letter]
            follows = parts[i + 1] if i + 1 < len(parts) else Part()
            follows = follows.optional[0] if follows.optional else follows
            if reads == r"\d{1,2}" and (before or follows.letter in {*"YyGjmdHIVMSf"}):
                reads = r"\d{2}"
            if part.flag == "-" and letter in "MS":
                reads = r"\d{1,2}"
            found += f"(?P<{letter}>{reads})"
        else:
            found += " +" if part.literal == " " else re.escape(part.literal)
        before = bool(part.letter) and part.letter in "YyGjmdHIVMSf"
    return found


def _number(letter: str, group: pa.Array) -> np.ndarray:
    """The group as integers, 0 where it is empty; nanoseconds for a fraction, from 1 for names."""
    if letter in "ba":
        names = pc.utf8_slice_codeunits(pc.utf8_lower(group), 0, 3)
        known = _SHORT if letter == "b" else [name[:3] for name in WEEKDAYS]
        index = pc.index_in(names, pa.array([name.lower() for name in known])).fill_null(-1)
        return np.asarray(index.to_numpy(zero_copy_only=False)).astype(np.int64) + 1
    empty = pc.equal(group, "")
    if letter == "f":
        group = pc.utf8_rpad(group, 9, "0")
    values = pc.cast(pc.if_else(empty, "0", group), pa.int64())
    return np.array(values.to_numpy(zero_copy_only=False))


def _days(
    numbers: dict[str, np.ndarray], count: int, first_year: int | None
) -> tuple[np.ndarray, np.ndarray]:
    """Days (datetime64[D]) that the numbers name, and which of them there are."""
    if "G" in numbers or "V" in numbers:
        return _iso_days(numbers, count, first_year)
    year = _year(numbers, first_year)
    month, day = np.ones(count, np.int64), np.ones(count, np.int64)
    for letter in "mb":
        month = numbers.get(letter, month)
    if "q" in numbers:
        month = 3 * numbers["q"] - 2
    right = (month >= 1) & (month <= 12) & (year >= 1)
    months = (np.where(right, 12 * (year - 1970) + month - 1, 0)).astype("datetime64[M]")
    if "j" in numbers:
        day = numbers["j"]
        length = ((months + 12).astype("datetime64[D]") - months.astype("datetime64[D]")).astype(np.int64)
    else:
        day = numbers.get("d", day)
        length = ((months + 1).astype("datetime64[D]") - months.astype("datetime64[D]")).astype(np.int64)
    right &= (day >= 1) & (day <= length)
    return months.astype("datetime64[D]") + np.where(right, day - 1, 0), right


def _iso_days(
    numbers: dict[str, np.ndarray], count: int, first_year: int | None
) -> tuple[np.ndarray, np.ndarray]:
    year = numbers["G"] if "G" in numbers else _year(numbers, first_year)
    week, weekday = numbers["V"], numbers.get("u", np.ones(count, np.int64))
    fourth = (year - 1970).astype("datetime64[Y]").astype("datetime64[D]") + 3  # of January, in week 1
    monday = fourth - (fourth.astype(np.int64) + 3) % 7
    thursday = monday + 7 * (week - 1) + 3
    right = (week >= 1) & (thursday.astype("datetime64[Y]").astype(np.int64) + 1970 == year)
    return monday + 7 * (week - 1) + weekday - 1, right


def _year(numbers: dict[str, np.ndarray], first_year: int | None) -> np.ndarray:
    if "Y" in numbers:
        return numbers["Y"]
    first = first_year or 0
    return first + (numbers["y"] - first) % 100


def _clock(
    numbers: dict[str, np.ndarray], groups: dict[str, pa.Array], count: int
) -> tuple[np.ndarray, np.ndarray]:
    """Microseconds since midnight, and which of them a clock shows; 24:00 is the midnight that ends the day."""
    values = {letter: numbers.get(letter, np.zeros(count, np.int64)) for letter in "HMS"}
    right = (values["M"] < 60) & (values["S"] < 60)
    if "I" in numbers:
        hour = numbers["I"]
        half = pc.utf8_lower(pc.utf8_slice_codeunits(groups["p"], 0, 1)) if "p" in groups else None
        given = np.array(pc.not_equal(groups["I"], "").to_numpy(zero_copy_only=False))
        right &= ~given | ((hour >= 1) & (hour <= 12))
        later = np.zeros(count, bool) if half is None else pc.equal(half, "p").to_numpy(zero_copy_only=False)
        values["H"] = hour % 12 + 12 * np.asarray(later, np.int64)
    total = sum((values[letter] * size for letter, size in _MICROSECOND.items()), np.zeros(count, np.int64))
    total = total + numbers.get("f", np.zeros(count, np.int64)) // 1000
    right &= total <= 24 * _MICROSECOND["H"]
    return total, right


def _offsets(group: pa.Array | None, fits: np.ndarray) -> np.ndarray | None:
    if group is None:
        return None
    encoded = group.dictionary_encode()
    known = np.array([_offset(text) for text in encoded.dictionary.to_pylist()] or [np.nan])
    found = known[encoded.indices.to_numpy(zero_copy_only=False)]
    return np.where(fits, found, np.nan)


def _offset(text: str) -> float:
    """Minutes ahead of UTC; NaN for an empty text."""
    if not text:
        return np.nan
    if text[0] not in "+-":
        return 0.0
    minutes = 60 * int(text[1:3]) + int(text[-2:] if len(text) > 3 else 0)
    return -minutes if text[0] == "-" else minutes


def _narrowed(parts: tuple[Part, ...], seen: dict[str, pa.Array], bare: bool) -> list[Part]:
    """The parts as the texts ``seen`` of each directive show them; ``bare`` says that days and months have no zero."""
    found = []
    for part in parts:
        if part.optional:
            letter = part.directives()[0].letter
            there = pc.not_equal(seen[_SAME.get(letter, letter)], "")
            if not pc.any(there).as_py():
                continue
            inner = _narrowed(
                part.optional, {name: pc.filter(texts, there) for name, texts in seen.items()}, bare
            )
            needed = pc.all(there).as_py()
            found += inner if needed else [Part(optional=tuple(inner)) if _holds(inner) else part]
        elif part.letter:
            letter = _SAME.get(part.letter, part.letter)
            texts = seen[letter]
            found.append(_settled(letter, part, pc.filter(texts, pc.not_equal(texts, "")), bare))
        else:
            found.append(part)
    return found


def _holds(parts: list[Part]) -> bool:
    return any(part.directives() for part in parts)


def _settled(letter: str, part: Part, texts: pa.Array, bare: bool) -> Part:
    """The directive that writes as the texts are written."""
    if not len(texts):
        return part
    if letter in "md":
        return Part(letter, "-" if bare else "")
    if letter in "HIVMS":
        late = letter == "H" and _from_1(texts)
        return Part(letter, ("-" if pc.min(pc.utf8_length(texts)).as_py() < 2 else "") + "1" * late)
    if letter == "f":
        return Part("f", str(pc.max(pc.utf8_length(texts)).as_py()))
    if letter == "z":
        forms = pc.unique(texts).to_pylist()
        if len(forms) == 1 and forms[0][0] not in "+-":
            return Part(literal=forms[0])
        widths = {len(form) for form in forms if form[0] in "+-"}
        return Part("z", {3: "-", 5: ""}.get(min(widths), ":") if len(widths) == 1 else ":")
    if letter in "bap":
        upper, lower = pc.all(pc.utf8_is_upper(texts)).as_py(), pc.all(pc.utf8_is_lower(texts)).as_py()
        if letter == "p":
            return Part("P" if lower else "p")
        long = pc.max(pc.utf8_length(texts)).as_py() > 4 if letter == "a" else _any_long(texts)
        return Part(letter.upper() if long else letter, "^" if upper else "~" if lower else "")
    return Part(letter, part.flag)


def _from_1(texts: pa.Array) -> bool:
    """Whether hours go from 1 to 24, and not from 0 to 23."""
    hours = set(map(int, pc.unique(texts).to_pylist()))
    return 24 in hours and 0 not in hours


def _at_24(parts: tuple[Part, ...]) -> tuple[Part, ...]:
    """The parts with all that is optional, and 24 for the hour."""
    found = [inner for part in parts for inner in (_at_24(part.optional) if part.optional else (part,))]
    return tuple(Part(literal="24") if part.letter == "H" else part for part in found)


def _any_long(texts: pa.Array) -> bool:
    return any(len(text) > 3 and text.lower() != "sept" for text in pc.unique(texts).to_pylist())


_WRITES: dict[str, Callable[[datetime], Any]] = {
    "Y": lambda t: f"{t.year:04}", "y": lambda t: f"{t.year % 100:02}", "G": lambda t: f"{t.isocalendar()[0]:04}",
    "V": lambda t: f"{t.isocalendar()[1]:02}", "u": lambda t: str(t.isoweekday()), "m": lambda t: f"{t.month:02}",
    "d": lambda t: f"{t.day:02}", "j": lambda t: f"{t.timetuple().tm_yday:03}", "q": lambda t: str((t.month + 2) // 3),
    "H": lambda t: f"{t.hour:02}", "I": lambda t: f"{(t.hour + 11) % 12 + 1:02}", "M": lambda t: f"{t.minute:02}",
    "S": lambda t: f"{t.second:02}", "p": lambda t: "AM" if t.hour < 12 else "PM",
    "P": lambda t: "am" if t.hour < 12 else "pm", "B": lambda t: MONTHS[t.month - 1],
    "b": lambda t: _SHORT[t.month - 1], "A": lambda t: WEEKDAYS[t.weekday()], "a": lambda t: WEEKDAYS[t.weekday()][:3],
}  # fmt: skip


def _written(parts: tuple[Part, ...], date: datetime, offset: float | None) -> str:
    found = ""
    for part in parts:
        if part.optional:
            found += _written(part.optional, date, offset) if _says_more(part, date, offset) else ""
        elif not part.letter:
            found += part.literal
        elif part.letter == "z":
            found += _written_offset(part.flag, offset)
        elif part.letter == "f":
            found += f"{date.microsecond:06}000"[: int(part.flag or 6)]
        else:
            text = _WRITES[part.letter](date)
            text = {"^": text.upper(), "~": text.lower()}.get(part.flag, text)
            found += (text.lstrip("0") or "0") if part.flag.startswith("-") else text
    return found


def _says_more(part: Part, date: datetime, offset: float | None) -> bool:
    """Whether an optional part would say anything: a time other than midnight, a fraction other than 0, an offset."""
    values = {"H": date.hour, "I": date.hour, "M": date.minute, "S": date.second, "f": date.microsecond}
    letters = [found.letter for found in part.directives()]
    return any(values.get(letter, 0) for letter in letters) or (letters == ["z"] and offset is not None)


def _written_offset(flag: str, offset: float | None) -> str:
    if offset is None or offset != offset:
        return ""
    minutes = round(offset)
    hours, minutes, sign = abs(minutes) // 60, abs(minutes) % 60, "-" if minutes < 0 else "+"
    if flag == "-" and not minutes:
        return f"{sign}{hours:02}"
    return f"{sign}{hours:02}{':' if flag else ''}{minutes:02}"
