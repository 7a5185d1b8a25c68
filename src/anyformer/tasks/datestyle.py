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
``%o``     day of the month as in ``1st``             ``%h``     half of the year, 1 or 2
``%48n``   which of 48 parts of the day, from 1        ``%048n``  the same from 0
=========  ==========================================  =========  ===========================================

Months and hours are read with one digit or two. Names may be in any language of :mod:`anyformer.tasks.datenames`, and
``%z`` reads ``CET`` and other names of zones that stand for one offset. For writing, ``%-d`` leaves out the leading
zero, ``%3f`` gives milliseconds, ``%:z`` parts hours and minutes by a colon and ``%-z`` leaves out the minutes; ``%^b``
is in upper case and ``%~b`` in lower; ``%1H`` writes midnight as 24 hours of the day before; names are those of the
texts that were read, English ones otherwise.
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

from anyformer.spelling import option
from anyformer.tasks.datenames import (
    ENGLISH,
    MONTHS,
    WEEKDAYS,
    ZONES,
    Names,
    names_like,
    number_of,
    zone_offset,
)
from anyformer.tasks.datewriting import Part, at_24, cased, parts_of_day, written

_WORD = "[A-Za-z\u00c0-\u024f\u0300-\u036f]"
#: What a directive reads.
_READS = {
    "Y": r"\d{4}", "y": r"\d{2}", "G": r"\d{4}", "j": r"\d{3}", "u": "[1-7]", "q": "[1-4]", "f": r"\d{1,9}",
    "m": r"\d{1,2}", "d": r"\d{1,2}", "H": r"\d{1,2}", "I": r"\d{1,2}", "V": r"\d{1,2}", "M": r"\d{2}", "S": r"\d{2}",
    "p": r"[AaPp]\.?[Mm]\.?", "b": rf"{_WORD}{{3,12}}\.?", "a": rf"{_WORD}{{2,12}}(?:-feira)?\.?",
    "z": r"(?:UTC|GMT)?[+-]\d{2}(?::?\d{2})?|[A-Z]{1,5}", "h": "[12]", "n": r"\d{1,4}",
}  # fmt: skip
_ORDINAL = "[0-9]{1,2}(?:st|nd|rd|th|ST|ND|RD|TH|er|ER|\u00ba|\u00aa|\u00b0)?"
_SAME = {"B": "b", "A": "a", "P": "p", "o": "d"}  # written otherwise, read alike
_MICROSECOND = {"H": 3_600_000_000, "M": 60_000_000, "S": 1_000_000}


@dataclass(frozen=True)
class Parsed:
    """What texts say, each array ``(N,)``.

    Attributes:
        dates: datetime64[us], as on the clock of the place; NaT where a text does not fit.
        offsets: minutes that the clock is ahead of UTC, NaN where none is written; None where the pattern has none.
        first_year: of the hundred years that two digits stand for; None without such years.
        groups: the text of each directive, empty where its optional part is absent.
        finer: how many texts have fractions finer than a microsecond, which are cut off.
        local: minutes ahead of UTC by names of zones that were meant before others.
    """

    dates: np.ndarray
    offsets: np.ndarray | None
    first_year: int | None
    groups: dict[str, pa.Array]
    finer: int = 0
    local: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Style:
    """A way of writing dates; ``ValueError`` where the pattern is none.

    Args:
        pattern: see the module.
        names: how words are written, where not as the pattern says.
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
    def parts(self) -> tuple[Part, ...]:
        """The pieces of the pattern."""
        return _parts(self.pattern)

    @cached_property
    def directives(self) -> list[Part]:
        """All directives, also those of optional parts."""
        return [found for part in self.parts for found in part.directives()]

    @cached_property
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

    def parse(
        self, texts: pa.Array, first_year: int | None = None, local: Mapping[str, float] | None = None
    ) -> Parsed:
        """Read texts.

        Args:
            texts: strings without blanks around them.
            first_year: of the hundred years that ``%y`` stands for; chosen from the texts where not given.
            local: minutes ahead of UTC by names of zones that are meant before others.
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
        if "n" in numbers:
            count, first = next(parts_of_day(part) for part in self.directives if part.letter == "n")
            clock += (numbers["n"] - first) * (24 * _MICROSECOND["H"] // count)
            fine &= (numbers["n"] >= first) & (numbers["n"] < first + count)
        offsets, known = _offsets(groups.get("z"), fits, local or {})
        fits &= right & fine & known
        dates = days.astype("datetime64[us]") + clock.astype("timedelta64[us]")
        if "a" in numbers:
            given = numbers["a"]
            fits &= (given == 0) | ((days.astype(np.int64) + 3) % 7 + 1 == given)
        dates[~fits] = np.datetime64("NaT")
        finer = int((numbers["f"][fits] % 1000 > 0).sum()) if "f" in numbers else 0
        return Parsed(dates, offsets, first_year, groups, finer, local or {})

    def narrowed(self, parsed: Parsed) -> Style:
        """The style as the texts that fit it are written: optional parts settled, zeros, case and names as there."""
        fits = pa.array(~np.isnat(parsed.dates))
        seen = {letter: pc.filter(group, fits) for letter, group in parsed.groups.items()}
        bare = any(pc.min(pc.utf8_length(seen[letter])).as_py() == 1 for letter in "md" if letter in seen)
        parts = _narrowed(self.parts, seen, bare)
        return Style("".join(map(str, parts)), _names(parts, seen, parsed.local))

    def show(self, date: np.datetime64, offset: float | None = None) -> str:
        """A date in this style; ``offset``, in minutes, is what ``%z`` writes, nothing where it is None or NaN."""
        moment: datetime = date.astype("datetime64[us]").item()
        late = moment.time() == time(0) and any(
            part.letter == "H" and part.flag.endswith("1") for part in self.directives
        )
        parts, moment = (at_24(self.parts), moment - timedelta(days=1)) if late else (self.parts, moment)
        return written(parts, moment, offset, self.names).rstrip()


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
    for piece in re.findall(r"%[-^~:]?\d*[A-Za-z%]|[\[\]]|.", pattern, flags=re.DOTALL):
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
            if part.letter == "o":
                reads = _ORDINAL
            found += f"(?P<{letter}>{reads})"
        else:
            found += " +" if part.literal == " " else re.escape(part.literal)
        before = bool(part.letter) and part.letter in "YyGjmdHIVMSf"
    return found


def _number(letter: str, group: pa.Array) -> np.ndarray:
    """The group as integers, 0 where it is empty; nanoseconds for a fraction, from 1 for names."""
    if letter in "ba":
        encoded = group.dictionary_encode()
        known = np.array([number_of(letter, word) for word in encoded.dictionary.to_pylist()], np.int64)
        return known[encoded.indices.to_numpy(zero_copy_only=False)] if len(known) else np.zeros(0, np.int64)
    if letter == "d":
        group = pc.replace_substring_regex(group, "[^0-9]+", "")
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
    if "h" in numbers:
        month = 6 * numbers["h"] - 5
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


def _offsets(
    group: pa.Array | None, fits: np.ndarray, local: Mapping[str, float]
) -> tuple[np.ndarray | None, np.ndarray]:
    """Minutes ahead of UTC, NaN where none is written, and where what is written is known."""
    if group is None:
        return None, np.ones(len(fits), bool)
    encoded = group.dictionary_encode()
    texts = encoded.dictionary.to_pylist()
    offsets = np.array([zone_offset(text, local) if text else np.nan for text in texts] or [np.nan])
    known = ~np.isnan(offsets) | np.array([not text for text in texts] or [True])
    places = encoded.indices.to_numpy(zero_copy_only=False)
    return np.where(fits, offsets[places], np.nan), known[places]


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
    if part.letter == "o":
        last = pc.utf8_slice_codeunits(texts, -1, 4)
        if pc.any(pc.utf8_is_alpha(last)).as_py() or not pc.all(pc.utf8_is_digit(last)).as_py():
            return Part("o", "^" if pc.any(pc.utf8_is_upper(last)).as_py() else "")
    if letter in "md":
        return Part(letter, "-" if bare else "")
    if letter in "HIVMS":
        late = letter == "H" and _from_1(texts)
        return Part(letter, ("-" if pc.min(pc.utf8_length(texts)).as_py() < 2 else "") + "1" * late)
    if letter == "f":
        return Part("f", str(pc.max(pc.utf8_length(texts)).as_py()))
    if letter == "z":
        forms = pc.unique(texts).to_pylist()
        if len(forms) == 1 and forms[0] in ZONES:
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


def _names(parts: list[Part], seen: dict[str, pa.Array], local: Mapping[str, float]) -> Names:
    """The names that the texts show, where the directives alone would write others."""
    found: dict[str, Any] = {}
    for part in Style("".join(map(str, parts))).directives:
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
    """Whether hours go from 1 to 24, and not from 0 to 23."""
    hours = set(map(int, pc.unique(texts).to_pylist()))
    return 24 in hours and 0 not in hours


def _any_long(texts: pa.Array) -> bool:
    return any(len(text) > 3 and text.lower() != "sept" for text in pc.unique(texts).to_pylist())
