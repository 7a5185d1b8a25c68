"""Parts of a date pattern, and writing dates by them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from typing import Any

from anyformer.dates.names import MONTHS, ROMAN, WEEKDAYS, Names


@dataclass(frozen=True)
class DatePart:
    """A part of a pattern: a directive (``letter``, with ``flag``), a literal text, or an optional run of parts."""

    letter: str = ""
    flag: str = ""
    literal: str = ""
    optional: tuple[DatePart, ...] = ()

    def __str__(self) -> str:
        if self.optional:
            return "[" + "".join(map(str, self.optional)) + "]"
        return f"%{self.flag}{self.letter}" if self.letter else self.literal.replace("%", "%%")

    def directives(self) -> list[DatePart]:
        """Return its directives, in order."""
        return [self] if self.letter else [found for part in self.optional for found in part.directives()]


def width_of_time(part: DatePart) -> int:
    """Return how many digits a time in one number has at most: four, or six with seconds."""
    return 6 if "6" in part.flag else 4


def parts_of_day(part: DatePart) -> tuple[int, int]:
    """Return the number of equal parts of a day, and the number that the first has."""
    return int(part.flag or 24), 0 if part.flag.startswith("0") else 1


def cased(name: str, part: DatePart) -> str:
    """Return an English name as the directive writes it."""
    text = name if part.letter.isupper() else name[:3]
    return {"^": text.upper(), "~": text.lower()}.get(part.flag, text)


def at_24(parts: tuple[DatePart, ...]) -> tuple[DatePart, ...]:
    """Return the parts with all optional ones included, and 24 for the hour."""
    found = [inner for part in parts for inner in (at_24(part.optional) if part.optional else (part,))]
    late = {"H": "24", "t": "2400"}
    return tuple(
        DatePart(literal=late[part.letter] + "00" * ("6" in part.flag)) if part.letter in late else part
        for part in found
    )


_WRITES: dict[str, Callable[[datetime], Any]] = {
    "Y": lambda t: f"{t.year:04}", "y": lambda t: f"{t.year % 100:02}", "G": lambda t: f"{t.isocalendar()[0]:04}",
    "V": lambda t: f"{t.isocalendar()[1]:02}", "u": lambda t: str(t.isoweekday()), "m": lambda t: f"{t.month:02}",
    "d": lambda t: f"{t.day:02}", "j": lambda t: f"{t.timetuple().tm_yday:03}", "q": lambda t: str((t.month + 2) // 3),
    "H": lambda t: f"{t.hour:02}", "I": lambda t: f"{(t.hour + 11) % 12 + 1:02}", "M": lambda t: f"{t.minute:02}",
    "S": lambda t: f"{t.second:02}", "p": lambda t: "AM" if t.hour < 12 else "PM",
    "P": lambda t: "am" if t.hour < 12 else "pm", "h": lambda t: str((t.month + 5) // 6),
}  # fmt: skip


def written(parts: tuple[DatePart, ...], date: datetime, offset: float | None, names: Names) -> str:
    """Return a date written by these parts; ``offset`` is in minutes ahead of UTC, unwritten if None or NaN."""
    found = ""
    for part in parts:
        if part.optional:
            found += written(part.optional, date, offset, names) if _says_more(part, date, offset) else ""
        elif not part.letter:
            found += part.literal
        elif part.letter == "z":
            found += dict(names.zones).get(offset, "") or _written_offset(part.flag, offset)  # type: ignore[call-overload]
        elif part.letter == "f":
            found += f"{date.microsecond:06}000"[: int(part.flag or 6)]
        elif part.letter in "bBaA":
            letter, place = part.letter.lower(), date.month - 1 if part.letter in "bB" else date.weekday()
            given = names.of(letter)
            found += given[place] if given else cased((MONTHS if letter == "b" else WEEKDAYS)[place], part)
        elif part.letter == "o":
            found += _ordinal(date.day, part.flag, names.first)
        elif part.letter == "q" and part.flag == "^":
            found += ROMAN[(date.month - 1) // 3]
        elif part.letter == "t":
            text = f"{date:%H%M%S}"[: width_of_time(part)]
            found += str(int(text)) if part.flag.startswith("-") else text
        elif part.letter == "e":
            after = date.hour + 1 if part.flag.endswith("1") else (date.hour + 1) % 24
            found += str(after) if part.flag.startswith("-") else f"{after:02}"
        elif part.letter == "E":
            found += f"{(date.year + 1) % 100:02}" if part.flag else f"{date.year + 1:04}"
        elif part.letter == "n":
            count, first = parts_of_day(part)
            since = (date - datetime.combine(date.date(), time(0))) // timedelta(minutes=1)
            found += str(since * count // 1440 + first)
        else:
            text = _WRITES[part.letter](date)
            found += (text.lstrip("0") or "0") if part.flag.startswith("-") else text
    return found


def _ordinal(day: int, flag: str, first: str | None) -> str:
    """Return ``1st``, ``2nd``; or ``first`` and plain numbers after it."""
    if first is not None:
        return first if day == 1 else str(day)
    mark = "th" if 10 < day < 20 else {1: "st", 2: "nd", 3: "rd"}.get(day % 10, "th")
    return f"{day}{mark.upper() if flag == '^' else mark}"


def _says_more(part: DatePart, date: datetime, offset: float | None) -> bool:
    """True if an optional part would show a time other than midnight, a fraction other than 0, or an offset."""
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
