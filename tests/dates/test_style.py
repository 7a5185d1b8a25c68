"""Patterns read what they write, and refuse what is no date."""

from __future__ import annotations

from datetime import datetime

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anyformer.dates.style import DateStyle

DAYS = [
    "%Y-%m-%d",
    "%d.%m.%Y",
    "%-d/%-m/%Y",
    "%b %d, %Y",
    "%^b-%d-%Y",
    "%a, %d %B %Y",
    "%Y%m%d",
    "%Y-%j",
    "%G-W%V-%u",
]
TIMES = ["", " %H:%M:%S", " %H:%M:%S.%f", " %I:%M:%S %p", "[ %H:%M[:%S[.%f]]]"]


@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    st.sampled_from(DAYS),
    st.sampled_from(TIMES),
    st.datetimes(datetime(1000, 1, 1), datetime(2999, 12, 31)),
    st.sampled_from([None, 0.0, 60.0, -570.0]),
)
def test_what_is_written_is_read(day: str, time: str, moment: datetime, offset: float | None) -> None:
    unit = "us" if "%f" in time else "s" if time else "D"
    date = np.datetime64(moment, "us").astype(f"datetime64[{unit}]").astype("datetime64[us]")
    style = DateStyle(day + time + ("" if offset is None or not time else "%:z"))
    parsed = style.parse(pa.array([style.show(date, offset)]))
    assert parsed.dates[0] == date
    if parsed.offsets is not None:
        assert parsed.offsets[0] == offset


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        ("%Y-%m-%d", "2023-02-29"), ("%Y-%m-%d", "2024-13-01"), ("%d.%m.%Y", "00.01.2024"), ("%Y-%j", "2023-366"),
        ("%G-W%V", "2023-W53"), ("%a %d %b %Y", "Mon 2 Jan 2024"), ("%Y-%m-%d %H:%M", "2024-01-01 24:01"),
        ("%Y-%m-%d %I:%M %p", "2024-01-01 13:00 PM"), ("%Y Q%q", "2024 Q5"), ("%d %b %Y", "1 Foo 2024"),
        ("%Y-%m-%d %H:%M%z", "2024-01-01 00:00 XYZ"), ("%Y %48n", "2024 49"),
    ],
)  # fmt: skip
def test_what_is_no_date_is_none(pattern: str, text: str) -> None:
    assert np.isnat(DateStyle(pattern).parse(pa.array([text])).dates[0])


@pytest.mark.parametrize(
    ("pattern", "texts", "narrow"),
    [
        ("%d/%m/%Y[ %H:%M[:%S]]", ["01/02/2024", "11/02/2024"], "%d/%m/%Y"),
        ("%d/%m/%Y[ %H:%M[:%S]]", ["1/2/2024 9:05", "11/12/2024 10:00"], "%-d/%-m/%Y %-H:%M"),
        ("%Y-%m-%d %H:%M:%S[.%f]", ["2024-01-01 00:00:00.125", "2024-01-01 00:00:01"], "%Y-%m-%d %H:%M:%S[.%3f]"),
        ("%d %b %Y", ["01 JAN 2024", "02 MAR 2024"], "%d %^b %Y"),
        ("%d %b %Y", ["01 January 2024", "02 March 2024"], "%d %B %Y"),
        ("%Y-%m-%d %H:%M[%z]", ["2024-01-01 00:00Z"], "%Y-%m-%d %H:%MZ"),
    ],
)  # fmt: skip
def test_a_pattern_is_narrowed_to_its_texts(pattern: str, texts: list[str], narrow: str) -> None:
    style = DateStyle(pattern)
    parsed = style.parse(pa.array(texts))
    assert style.narrowed(parsed).pattern == narrow
    assert style.narrowed(parsed).show(parsed.dates[0]) == texts[0]


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("%d.%m", "needs a year"), ("%Y %y %Y", "has %Y twice"), ("%G-%m", "without %V"), ("%Y %x", "has %x, which"),
        ("%Y[ ]", "brackets with no directive"), ("%Y[-%m", "a bracket that is not closed"), ("%Y]", "a lone ']'"),
    ],
)  # fmt: skip
def test_malformed_patterns(pattern: str, message: str) -> None:
    with pytest.raises(ValueError, match="date_format") as found:
        DateStyle(pattern)
    assert message in str(found.value)
