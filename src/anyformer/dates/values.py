"""Days, times and offsets from the texts of a pattern's directives."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from anyformer.dates.names import ROMAN, number_of, zone_offset

MICROSECONDS = {"H": 3_600_000_000, "M": 60_000_000, "S": 1_000_000}


def century(years: np.ndarray) -> int:
    """Return the first of the hundred years that two digits (N,) stand for.

    The years are assumed to lie in the shortest run that holds them all (98, 99, 00, 01 are 1998 to 2001), as late as
    possible but at most five years into the future.
    """
    used = np.unique(years)
    if not len(used):
        return 1970
    gaps = np.diff(np.append(used, used[0] + 100))
    begin = int(used[(gaps.argmax() + 1) % len(used)])
    span = 100 - int(gaps.max())
    latest = datetime.now().year + 5
    return begin + 100 * ((latest - span - begin) // 100)


def number_in(letter: str, group: pa.Array) -> np.ndarray:
    """Return the group as integers, 0 where it is empty; nanoseconds for a fraction, from 1 for names."""
    if letter in "ba":
        encoded = group.dictionary_encode()
        known = np.array([number_of(letter, word) for word in encoded.dictionary.to_pylist()], np.int64)
        return known[encoded.indices.to_numpy(zero_copy_only=False)] if len(known) else np.zeros(0, np.int64)
    if letter == "d":
        group = pc.replace_substring_regex(group, "[^0-9]+", "")
    if letter == "q":
        for number, roman in enumerate(ROMAN, 1):
            group = pc.replace_substring_regex(group, f"^{roman}$", str(number))
    empty = pc.equal(group, "")
    if letter == "f":
        group = pc.utf8_rpad(group, 9, "0")
    values = pc.cast(pc.if_else(empty, "0", group), pa.int64())
    return np.array(values.to_numpy(zero_copy_only=False))


def days_in(
    numbers: dict[str, np.ndarray], count: int, first_year: int | None
) -> tuple[np.ndarray, np.ndarray]:
    """Return the days (datetime64[D]) of the numbers, and a mask of those that exist."""
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


def time_in(
    numbers: dict[str, np.ndarray], groups: dict[str, pa.Array], count: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return microseconds since midnight, and a mask of valid times; 24:00 is the midnight that ends the day."""
    values = {letter: numbers.get(letter, np.zeros(count, np.int64)) for letter in "HMS"}
    right = (values["M"] < 60) & (values["S"] < 60)
    if "I" in numbers:
        hour = numbers["I"]
        half = pc.utf8_lower(pc.utf8_slice_codeunits(groups["p"], 0, 1)) if "p" in groups else None
        given = np.array(pc.not_equal(groups["I"], "").to_numpy(zero_copy_only=False))
        right &= ~given | ((hour >= 1) & (hour <= 12))
        later = np.zeros(count, bool) if half is None else pc.equal(half, "p").to_numpy(zero_copy_only=False)
        values["H"] = hour % 12 + 12 * np.asarray(later, np.int64)
    total = sum((values[letter] * size for letter, size in MICROSECONDS.items()), np.zeros(count, np.int64))
    total = total + numbers.get("f", np.zeros(count, np.int64)) // 1000
    right &= total <= 24 * MICROSECONDS["H"]
    return total, right


def time_in_one(numbers: np.ndarray, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Return microseconds since midnight of times such as 905 (90500 if ``width`` is 6), and a mask of valid ones."""
    seconds = numbers % 100 if width == 6 else np.zeros_like(numbers)
    minutes, hours = numbers // 10 ** (width - 4) % 100, numbers // 10 ** (width - 2)
    total = hours * MICROSECONDS["H"] + minutes * MICROSECONDS["M"] + seconds * MICROSECONDS["S"]
    return total, (minutes < 60) & (seconds < 60) & (total <= 24 * MICROSECONDS["H"])


def follows(numbers: dict[str, np.ndarray]) -> np.ndarray:
    """Return a mask of texts whose second hour or year, if the pattern has one, is the one after the first."""
    right = np.array(True)
    if "e" in numbers:
        right = right & (numbers["e"] % 24 == (numbers["H"] + 1) % 24)
    if "E" in numbers:
        following = numbers["Y"] + 1
        right = right & ((numbers["E"] == following) | (numbers["E"] == following % 100))
    return right


def offsets_in(
    group: pa.Array | None, fits: np.ndarray, local: Mapping[str, float]
) -> tuple[np.ndarray | None, np.ndarray]:
    """Return minutes ahead of UTC, NaN where none is written, and a mask of the texts that are absent or known."""
    if group is None:
        return None, np.ones(len(fits), bool)
    encoded = group.dictionary_encode()
    texts = encoded.dictionary.to_pylist()
    offsets = np.array([zone_offset(text, local) if text else np.nan for text in texts] or [np.nan])
    known = ~np.isnan(offsets) | np.array([not text for text in texts] or [True])
    places = encoded.indices.to_numpy(zero_copy_only=False)
    return np.where(fits, offsets[places], np.nan), known[places]
