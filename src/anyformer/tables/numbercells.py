"""Cells of numbers: texts that are numbers or stand for missing values, and the values of their digits."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from anyformer.spelling import option

LARGEST = 1e100
"""Larger numbers count as infinite, as their squares in deviations would overflow."""
MISSING = frozenset((
    "", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>", "N/A", "NA",
    "NULL", "NaN", "NaT", "None", "n/a", "nan", "null",
))  # fmt: skip
"""What pandas and R write for a missing value."""
_NONE = frozenset(("na", "nan", "null", "none"))
_STAND_INS = frozenset((
    "-", "--", "---", "\N{EN DASH}", "\N{EM DASH}", "?", ".", "..", "...", "*", "n.a.", "missing",
    "#div/0!", "#value!", "#ref!", "#num!",
))  # fmt: skip
_INFINITE = re.compile(r"[+-]?(?:inf|infinity|\N{INFINITY}|1\.#inf)", re.I)
_CODES = (
    "AED|ARS|AUD|BGN|BRL|CAD|CHF|CLP|CNY|COP|CZK|DKK|EGP|EUR|GBP|HKD|HRK|HUF|IDR|ILS|INR|ISK|JPY|KES|KRW|KWD|LKR|MAD|"
    "MXN|MYR|NGN|NOK|NZD|PEN|PHP|PKR|PLN|QAR|RON|RSD|RUB|SAR|SEK|SGD|THB|TND|TRY|TWD|UAH|USD|UYU|VND|ZAR"
)
_CURRENCY = rf"(?:[A-Z]{{0,3}}[$\u00a2-\u00a5\u20a0-\u20c0]|{_CODES}|kr\.?|z\u0142|K\u010d|Ft|Fr\.|Rs\.?)"
_SIGN = r"[+\-\N{MINUS SIGN}\N{EN DASH}]"
_MINUS = r"[\-\N{MINUS SIGN}]"
_CELL = re.compile(
    rf"(?P<open>\()?(?P<sign>{_SIGN})?\s?(?P<before>{_CURRENCY})?\s?(?P<inner>{_SIGN})?"
    r"(?P<body>[0-9.,'\N{RIGHT SINGLE QUOTATION MARK} \u00a0\u202f\u2009]*?[0-9][.,]?)"
    rf"(?P<power>[eE][+\-\N{{MINUS SIGN}}]?[0-9]+)?(?P<behind>{_MINUS})?\s?(?P<after>%|{_CURRENCY})?(?P<close>\))?"
)
_BLANKS = str.maketrans({"\u00a0": " ", "\u202f": " ", "\u2009": " ", "\N{RIGHT SINGLE QUOTATION MARK}": "'"})


def looks_like_number(text: str) -> bool:
    """True if a text is a number in some notation."""
    return _CELL.fullmatch(text) is not None


def is_stand_in(text: str) -> bool:
    """True if a text stands for a missing value in a column of numbers."""
    return text in MISSING or text.lower() in _NONE or text.lower() in _STAND_INS


@dataclass(frozen=True)
class Convention:
    """A file's notation of numbers and missing values.

    Attributes:
        decimal: "." or "," in all columns; None to find it for each column.
        thousands: ",", ".", " ", "'", or "" for none; None to find it for each column.
        missing: texts that stand for a missing value, besides the empty one; None for :data:`MISSING`. In columns of
            numbers, these and dashes, question marks and the like are missing values in any case.
        likely: the decimal mark if nothing in the file shows it.
    """

    decimal: str | None = None
    thousands: str | None = None
    missing: frozenset[str] | None = None
    likely: str | None = None

    def __post_init__(self) -> None:
        if self.decimal not in (None, ".", ","):
            raise ValueError(f"{option('decimal')} must be '.' or ',', got {self.decimal!r}")
        if self.thousands not in (None, "", ",", ".", " ", "'"):
            raise ValueError(
                f"{option('thousands')} must be ',', '.', ' ' (any blank), \"'\" or '' for none, got {self.thousands!r}"
            )
        if self.decimal is not None and self.decimal == self.thousands:
            raise ValueError(
                f"{option('decimal')} and {option('thousands')} must differ, got {self.decimal!r} for both"
            )

    def is_missing(self, text: str) -> bool:
        """True if a cell stands for a missing value in any column."""
        return not text or text in (MISSING if self.missing is None else self.missing)


@dataclass
class NumberColumn:
    """The distinct texts of a column, parsed.

    Attributes:
        name: of the column.
        texts, counts, firsts: (K,), the distinct texts, how often each occurs, and the row where each is first.
        numbers: matches of the texts that are numbers, by index into ``texts``; ``bodies`` are their digits and marks.
        infinite, stand_ins, odd, gone: indices of infinities, stand-ins such as dashes, other texts, missing values.
        fits: by decimal mark, the indices of numbers that can be read with it.
    """

    name: str
    texts: Sequence[str]
    counts: np.ndarray
    firsts: np.ndarray
    convention: Convention
    numbers: dict[int, re.Match[str]] = field(default_factory=dict)
    infinite: list[int] = field(default_factory=list)
    stand_ins: list[int] = field(default_factory=list)
    odd: list[int] = field(default_factory=list)
    gone: list[int] = field(default_factory=list)
    bodies: dict[int, str] = field(default_factory=dict)
    fits: dict[str, set[int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for place, text in enumerate(self.texts):
            text = text.strip()
            if self.convention.is_missing(text) or text in MISSING or text.lower() in _NONE:
                self.gone.append(place)
            elif match := _CELL.fullmatch(text):
                self.numbers[place] = match
                self.bodies[place] = match["body"].translate(_BLANKS)
            elif _INFINITE.fullmatch(text):
                self.infinite.append(place)
            elif text.lower() in _STAND_INS:
                self.stand_ins.append(place)
            else:
                self.odd.append(place)
        for decimal in (".", ","):
            if self.convention.decimal in (None, decimal):
                style = _style(decimal, self.convention.thousands)
                self.fits[decimal] = {place for place, body in self.bodies.items() if style.fullmatch(body)}

    def count(self, places: Iterable[int]) -> int:
        return int(self.counts[list(places)].sum())

    def first(self, places: Iterable[int]) -> str:
        """Return the first of these cells and its row, in words."""
        place = min(places, key=lambda place: int(self.firsts[place]))
        return f"{_short(self.texts[place])!r} in row {int(self.firsts[place]) + 1}"

    def read(self, place: int, decimal: str) -> float:
        """Return the number at an index that fits this decimal mark."""
        match, digits = self.numbers[place], self._digits(place, decimal)
        power = (match["power"] or "").replace("\N{MINUS SIGN}", "-")
        return (-1 if self._negative(place) else 1) * float(digits + power)

    def integer(self, place: int, decimal: str) -> int | None:
        """Return the number if it is an integer written without an exponent; else None."""
        digits = self._digits(place, decimal)
        if self.numbers[place]["power"] or not digits.isdigit():
            return None
        return (-1 if self._negative(place) else 1) * int(digits)

    def _negative(self, place: int) -> bool:
        match = self.numbers[place]
        sign = match["sign"] or match["inner"] or match["behind"] or ""
        return bool(match["open"]) or sign not in ("", "+")

    def _digits(self, place: int, decimal: str) -> str:
        body = self.bodies[place]
        kept = body.translate({ord(c): None for c in ",.' " if c != decimal})
        return kept.replace(decimal, ".")


def _style(decimal: str, thousands: str | None) -> re.Pattern[str]:
    """Return the pattern of numbers with this decimal mark and thousands separator, or any other one if None."""
    marks = [mark for mark in ",.' " if mark != decimal] if thousands is None else [*thousands]
    whole = ["[0-9]+"]
    for mark in map(re.escape, marks):
        whole.append(f"[1-9][0-9]{{0,2}}(?:{mark}[0-9]{{3}})+")
        if mark == ",":
            whole.append("[1-9][0-9]?(?:,[0-9]{2})+,[0-9]{3}")  # 12,34,567 as in India
    point = re.escape(decimal)
    return re.compile(rf"(?:{'|'.join(whole)})(?:{point}[0-9]*)?|{point}[0-9]+")


def _short(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:30]}...{text[-20:]}"
