"""Patterns that are tried on columns, and columns that hold a part of a date by their names."""

from __future__ import annotations

import re

import numpy as np
import pytest

from anyformer.dates.forms import PARTS, agrees, day_first, known_styles, part_of, part_of_day
from anyformer.dates.style import DateStyle


def test_known_patterns_are_dates_tried_once() -> None:
    styles = known_styles()
    patterns = [style.pattern for style, _ in styles]
    assert len(set(patterns)) == len(patterns) > 300
    assert [tier for _, tier in styles] == sorted(tier for _, tier in styles)
    assert all(re.compile(style.regex) for style, _ in styles)


@pytest.mark.parametrize(
    ("pattern", "first", "by_day", "by_month"),
    [
        ("%d/%m/%Y", True, True, False),
        ("%m/%d/%y", False, False, True),
        ("%d %b %Y", None, True, True),
        ("%m.%Y", None, True, True),
        ("%Y-%d-%m", True, True, True),  # dayfirst says nothing where the year is first
    ],
)
def test_the_order_of_day_and_month(pattern: str, first: bool | None, by_day: bool, by_month: bool) -> None:
    style = DateStyle(pattern)
    assert day_first(style) is first and agrees(style, None)
    assert (agrees(style, True), agrees(style, False)) == (by_day, by_month)


@pytest.mark.parametrize(
    ("name", "part"),
    [("Year", "%Y"), ("month_name", "%b"), ("Hour Ending", "%H"), ("Settlement_period", "%n"), ("KW", "%V")],
)
def test_parts_by_name_whatever_the_case_and_blanks(name: str, part: str) -> None:
    assert part_of(name) == part
    assert part_of(f"{name}x") is None and part_of("") is None


def test_no_name_is_that_of_two_parts() -> None:
    names = [name for text, _ in PARTS.values() for name in text.split()]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("count", [24, 48, 96])
def test_parts_of_a_day_are_told_by_all_of_them(count: int) -> None:
    for first in (0, 1):
        numbers = np.tile(np.arange(first, first + count, dtype=np.float64), 50)
        assert part_of_day(np.append(numbers, np.nan)) == f"%{'' if first else '0'}{count}n"
        assert part_of_day(numbers[numbers != first + 3]) is None  # one never occurs
        longer = np.append(numbers, [first + count, first + count + 1])  # a day of 25 hours
        assert part_of_day(longer) == f"%{'' if first else '0'}{count}n"
    assert part_of_day(np.arange(1, count + 1) + 0.5) is None and part_of_day(np.array([np.nan])) is None
