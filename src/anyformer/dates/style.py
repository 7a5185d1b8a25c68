"""Patterns of dates: one for all values of a column, which reads them and writes further ones alike.

A pattern is written as for ``strftime``, with optional parts in brackets: ``%d.%m.%Y[ %H:%M[:%S]]``.

=========  ==========================================  =========  ===========================================
``%Y %y``  year, of four or two digits                 ``%H %I``  hour, of 24 or 12
``%m``     month                                       ``%M %S``  minute, second
``%b %B``  name of the month, short or long            ``%f``     fraction of a second, up to nine digits
``%d``     day of the month                            ``%p``     AM or PM
``%j``     day of the year, of three digits            ``%z``     ``Z``, ``UTC``, or an offset such as ``+01:00``
``%q``     quarter                                     ``%G %V``  year and week of ISO 8601
``%a %A``  name of the weekday, which must agree       ``%u``     weekday from 1, Monday, to 7
``%o``     day of the month as in ``1st``             ``%h``     half of the year, 1 or 2
``%48n``   which of 48 parts of the day, from 1        ``%048n``  the same from 0
``%4t``    hours and minutes as one number: 905        ``%6t``    the same with seconds: 90500
``%e``     the hour after ``%H``, as in ``00-01``      ``%E``     the year after ``%Y``, as in ``2019/2020``
=========  ==========================================  =========  ===========================================

Months and hours are read with one digit or two. Names may be in any language of :mod:`anyformer.dates.names`, and
``%z`` reads ``CET`` and other names of zones that have one offset. For writing, ``%-d`` leaves out the leading
zero, ``%3f`` gives milliseconds, ``%:z`` puts a colon between hours and minutes and ``%-z`` leaves out the minutes;
``%^b`` is in upper case and ``%~b`` in lower; ``%^q`` is in Roman numerals; ``%1H`` writes midnight as 24:00 of the day
before, and ``%1e`` as 24; ``%-E`` has two digits; names are those of the texts that were read, English ones otherwise.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, time, timedelta
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from anyformer.dates.names import (
    ENGLISH,
    MONTHS,
    ROMAN,
    WEEKDAYS,
    ZONES,
    Names,
    names_like,
    number_of,
    zone_offset,
)
from anyformer.dates.values import (
    MICROSECONDS,
    century,
    days_in,
    follows,
    number_in,
    offsets_in,
    time_in,
    time_in_one,
)
from anyformer.dates.writing import DatePart, at_24, cased, parts_of_day, width_of_time, written
from anyformer.spelling import option

_WORD = "[A-Za-z\u00c0-\u024f\u0300-\u036f]"
#: Regular expressions of what directives read.
_READS = {
    "Y": r"\d{4}", "y": r"\d{2}", "G": r"\d{4}", "j": r"\d{3}", "u": "[1-7]", "q": "[1-4]", "f": r"\d{1,9}",
    "m": r"\d{1,2}", "d": r"\d{1,2}", "H": r"\d{1,2}", "I": r"\d{1,2}", "V": r"\d{1,2}", "M": r"\d{2}", "S": r"\d{2}",
    "p": r"[AaPp]\.?[Mm]\.?", "b": rf"{_WORD}{{3,12}}\.?", "a": rf"{_WORD}{{2,12}}(?:-[Ff][Ee][Ii][Rr][Aa])?\.?",
    "z": r"(?:UTC|GMT)?[+-]\d{2}(?::?\d{2})?|[A-Z]{1,5}", "h": "[12]", "n": r"\d{1,4}",
    "t": r"\d{1,6}", "e": r"\d{1,2}", "E": r"\d{2}(?:\d{2})?",
}  # fmt: skip
_ORDINAL = "[0-9]{1,2}(?:st|nd|rd|th|ST|ND|RD|TH|er|ER|\u00ba|\u00aa|\u00b0)?"
_SAME = {"B": "b", "A": "a", "P": "p", "o": "d"}  # these differ in writing, not in reading


@dataclass(frozen=True)
class Parsed:
    """Parsed texts, each array ``(N,)``.

    Attributes:
        dates: datetime64[us], local time; NaT where a text does not fit.
        offsets: minutes ahead of UTC, NaN where none is written; None if the pattern has none.
        first_year: of the hundred years that two digits stand for; None without such years.
        groups: the text of each directive, empty where its optional part is absent.
        finer: number of texts with fractions finer than a microsecond, which are truncated.
        local: minutes ahead of UTC by names of zones, which took precedence.
    """

    dates: np.ndarray
    offsets: np.ndarray | None
    first_year: int | None
    groups: dict[str, pa.Array]
    finer: int = 0
    local: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class DateStyle:
    """A pattern of dates, and the names in them; ``ValueError`` if the pattern is malformed.

    Args:
        pattern: see the module.
        names: names of months, weekdays and zones, if not the usual ones.
    """

    pattern: str
    names: Names = ENGLISH

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
    def parts(self) -> tuple[DatePart, ...]:
        """The parts of the pattern."""
        return _parts(self.pattern)

    @cached_property
    def directives(self) -> list[DatePart]:
        """All directives, also those of optional parts."""
        return [found for part in self.parts for found in part.directives()]

    @cached_property
    def letters(self) -> set[str]:
        """The letters of the directives, the same for long and short names."""
        return {_SAME.get(part.letter, part.letter) for part in self.directives}

    @cached_property
    def regex(self) -> str:
        """A regular expression for Python's ``re`` and for RE2, with one group for each directive."""
        return "^" + _regex(self.parts) + "$"

    @cached_property
    def form(self) -> re.Pattern[str]:
        """The regular expression, compiled."""
        return re.compile(self.regex)

    @cached_property
    def literals(self) -> frozenset[str]:
        """The literal texts in every date of this style."""
        return frozenset(part.literal for part in self.parts) - {"", " "}

    @cached_property
    def width(self) -> int:
        """Length of a text of digits only, padded with the leading zero that numbers lose; 0 for other patterns."""
        widths = {"Y": 4, "y": 2, "m": 2, "d": 2, "H": 2, "M": 2, "S": 2}
        bare = self.parts[0].letter in ("d", "m", "y") and all(part.letter in widths for part in self.parts)
        return sum(widths[part.letter] for part in self.parts) if bare else 0

    def parse(
        self, texts: pa.Array, first_year: int | None = None, local: Mapping[str, float] | None = None
    ) -> Parsed:
        """Read texts.

        Args:
            texts: strings without blanks around them.
            first_year: of the hundred years that ``%y`` stands for; chosen from the texts where not given.
            local: minutes ahead of UTC by names of zones, which take precedence.
        """
        if self.width:
            texts = pc.utf8_lpad(texts, self.width, "0")
        found = pc.extract_regex(texts, self.regex)
        fits = np.array(pc.is_valid(found).to_numpy(zero_copy_only=False))
        groups = {letter: pc.struct_field(found, letter).fill_null("") for letter in self.letters}
        numbers = {letter: number_in(letter, group) for letter, group in groups.items() if letter not in "zp"}
        if "y" in numbers and first_year is None:
            first_year = century(numbers["y"][fits])
        days, right = days_in(numbers, len(texts), first_year)
        clock, fine = time_in(numbers, groups, len(texts))
        if "n" in numbers:
            count, first = next(parts_of_day(part) for part in self.directives if part.letter == "n")
            clock += (numbers["n"] - first) * (24 * MICROSECONDS["H"] // count)
            fine &= (numbers["n"] >= first) & (numbers["n"] < first + count)
        fine &= follows(numbers)
        if "t" in numbers:
            width = next(width_of_time(part) for part in self.directives if part.letter == "t")
            time, right_time = time_in_one(numbers["t"], width)
            clock, fine = clock + time, fine & right_time
        offsets, known = offsets_in(groups.get("z"), fits, local or {})
        fits &= right & fine & known
        dates = days.astype("datetime64[us]") + clock.astype("timedelta64[us]")
        if "a" in numbers:
            given = numbers["a"]
            fits &= (given == 0) | ((days.astype(np.int64) + 3) % 7 + 1 == given)
        dates[~fits] = np.datetime64("NaT")
        finer = int((numbers["f"][fits] % 1000 > 0).sum()) if "f" in numbers else 0
        return Parsed(dates, offsets, first_year, groups, finer, local or {})

    def narrowed(self, parsed: Parsed) -> DateStyle:
        """Return the style narrowed to the texts that fit it: optional parts, leading zeros, case and names settled."""
        fits = pa.array(~np.isnat(parsed.dates))
        seen = {letter: pc.filter(group, fits) for letter, group in parsed.groups.items()}
        bare = any(pc.min(pc.utf8_length(seen[letter])).as_py() == 1 for letter in "md" if letter in seen)
        parts = _narrowed(self.parts, seen, bare)
        return DateStyle("".join(map(str, parts)), _names(parts, seen, parsed.local))

    def show(self, date: np.datetime64, offset: float | None = None) -> str:
        """Return a date in this style; ``%z`` writes ``offset`` (minutes), or nothing if it is None or NaN."""
        moment: datetime = date.astype("datetime64[us]").item()
        late = moment.time() == time(0) and any(
            part.letter in ("H", "t") and part.flag.endswith("1") for part in self.directives
        )
        parts, moment = (at_24(self.parts), moment - timedelta(days=1)) if late else (self.parts, moment)
        return written(parts, moment, offset, self.names).rstrip()


@lru_cache(maxsize=1024)
def _parts(pattern: str) -> tuple[DatePart, ...]:
    stack: list[list[DatePart]] = [[]]
    for piece in re.findall(r"%[-^~:]?\d*[A-Za-z%]|[\[\]]|.", pattern, flags=re.DOTALL):
        if piece == "[":
            stack.append([])
        elif piece == "]" and len(stack) > 1:
            inner = tuple(stack.pop())
            if not _holds(list(inner)):
                raise ValueError(
                    f"{option('date_format')} has brackets with no directive inside, got {pattern!r}"
                )
            stack[-1].append(DatePart(optional=inner))
        elif piece == "%%":
            stack[-1].append(DatePart(literal="%"))
        elif len(piece) > 1:
            letter = piece[-1]
            if _SAME.get(letter, letter) not in _READS:
                known = " ".join(f"%{name}" for name in [*_READS, *_SAME])
                raise ValueError(
                    f"{option('date_format')} has {piece}, which is not known, got {pattern!r}; known: {known}"
                )
            stack[-1].append(DatePart(letter=letter, flag=piece[1:-1]))
        elif piece in "%]":
            raise ValueError(f"{option('date_format')} has a lone {piece!r}, got {pattern!r}")
        else:
            stack[-1].append(DatePart(literal=piece))
    if len(stack) > 1:
        raise ValueError(f"{option('date_format')} has a bracket that is not closed, got {pattern!r}")
    return tuple(stack[0])


def _regex(parts: tuple[DatePart, ...], before: bool = False) -> str:
    """Return the regular expression; ``before`` is True right after a directive of digits, where widths are fixed."""
    found = ""
    for i, part in enumerate(parts):
        if part.optional:
            found += f"(?:{_regex(part.optional, before)})?"
        elif part.letter:
            letter = _SAME.get(part.letter, part.letter)
            reads = _READS[letter]
            follows = parts[i + 1] if i + 1 < len(parts) else DatePart()
            follows = follows.optional[0] if follows.optional else follows
            if reads == r"\d{1,2}" and (before or follows.letter in {*"YyGjmdHIVMSf"}):
                reads = r"\d{2}"
            if part.flag == "-" and letter in "MS":
                reads = r"\d{1,2}"
            if part.letter == "o":
                reads = _ORDINAL
            elif part.letter == "q" and part.flag == "^":
                reads = "|".join(sorted(ROMAN, key=len, reverse=True))
            elif part.flag == "-" and letter in "jE":
                reads = {"j": r"\d{1,3}", "E": r"\d{2}"}[letter]
            found += f"(?P<{letter}>{reads})"
        else:
            found += " +" if part.literal == " " else re.escape(part.literal)
        before = bool(part.letter) and part.letter in "YyGjmdHIVMSf"
    return found


def _narrowed(parts: tuple[DatePart, ...], seen: dict[str, pa.Array], bare: bool) -> list[DatePart]:
    """Return the parts narrowed to the texts ``seen`` by directive; ``bare``: days and months have no leading zero."""
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
            found += inner if needed else [DatePart(optional=tuple(inner)) if _holds(inner) else part]
        elif part.letter:
            letter = _SAME.get(part.letter, part.letter)
            texts = seen[letter]
            found.append(_settled(letter, part, pc.filter(texts, pc.not_equal(texts, "")), bare))
        else:
            found.append(part)
    return found


def _holds(parts: list[DatePart]) -> bool:
    return any(part.directives() for part in parts)


def _settled(letter: str, part: DatePart, texts: pa.Array, bare: bool) -> DatePart:
    """Return the directive that writes in the form of the texts."""
    if not len(texts):
        return part
    if part.letter == "o":
        last = pc.utf8_slice_codeunits(texts, -1, 4)
        if pc.any(pc.utf8_is_alpha(last)).as_py() or not pc.all(pc.utf8_is_digit(last)).as_py():
            return DatePart("o", "^" if pc.any(pc.utf8_is_upper(last)).as_py() else "")
    if letter in "md":
        return DatePart(letter, "-" if bare else "")
    if letter in "HIVMS":
        late = letter == "H" and _from_1(texts)
        return DatePart(letter, ("-" if pc.min(pc.utf8_length(texts)).as_py() < 2 else "") + "1" * late)
    if letter == "t":
        width, numbers = width_of_time(part), pc.min_max(pc.cast(texts, pa.int64())).as_py()
        late = numbers["min"] > 0 and numbers["max"] == 24 * 10 ** (width - 2)
        bare = pc.min(pc.utf8_length(texts)).as_py() < width
        return DatePart("t", "-" * bare + str(width) + "1" * late)
    if letter == "e":
        bare = pc.min(pc.utf8_length(texts)).as_py() < 2
        return DatePart("e", "-" * bare + "1" * pc.any(pc.equal(texts, "24")).as_py())
    if letter == "E":
        return DatePart("E", "-" if pc.min(pc.utf8_length(texts)).as_py() < 4 else "")
    if letter == "f":
        return DatePart("f", str(pc.max(pc.utf8_length(texts)).as_py()))
    if letter == "z":
        forms = pc.unique(texts).to_pylist()
        if len(forms) == 1 and forms[0] in ZONES:
            return DatePart(literal=forms[0])
        widths = {len(form) for form in forms if form[0] in "+-"}
        return DatePart("z", {3: "-", 5: ""}.get(min(widths), ":") if len(widths) == 1 else ":")
    if letter in "bap":
        upper, lower = pc.all(pc.utf8_is_upper(texts)).as_py(), pc.all(pc.utf8_is_lower(texts)).as_py()
        if letter == "p":
            return DatePart("P" if lower else "p")
        long = pc.max(pc.utf8_length(texts)).as_py() > 4 if letter == "a" else _any_long(texts)
        return DatePart(letter.upper() if long else letter, "^" if upper else "~" if lower else "")
    return DatePart(letter, part.flag)


def _names(parts: list[DatePart], seen: dict[str, pa.Array], local: Mapping[str, float]) -> Names:
    """Return the names in the texts, where the directives alone would write others."""
    found: dict[str, Any] = {}
    for part in DateStyle("".join(map(str, parts))).directives:
        letter = _SAME.get(part.letter, part.letter)
        words = [word for word in pc.unique(seen[letter]).to_pylist() if word]
        if letter in "ba":
            usual = {
                number_of(letter, pair["values"]): pair["values"]
                for pair in sorted(pc.value_counts(seen[letter]).to_pylist(), key=lambda pair: pair["counts"])
                if pair["values"]
            }
            plain = MONTHS if letter == "b" else WEEKDAYS
            if any(cased(plain[n - 1], part) != word for n, word in usual.items()):
                found["months" if letter == "b" else "weekdays"] = names_like(letter, usual)
        elif letter == "z" and any(word[0] not in "+-" for word in words):
            found["zones"] = tuple((round(zone_offset(word, local)), word) for word in sorted(words, key=len))
        elif part.letter == "o":
            marked = {word for word in words if not word.isdigit()}
            if len(marked) == 1 and len(words) > 1:
                found["first"] = marked.pop()
    return Names(**found)


def _from_1(texts: pa.Array) -> bool:
    """True if hours go from 1 to 24, and not from 0 to 23."""
    hours = set(map(int, pc.unique(texts).to_pylist()))
    return 24 in hours and 0 not in hours


def _any_long(texts: pa.Array) -> bool:
    return any(len(text) > 3 and text.lower() != "sept" for text in pc.unique(texts).to_pylist())
