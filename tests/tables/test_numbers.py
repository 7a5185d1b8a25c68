from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anyformer.tables.numbercells import Convention
from anyformer.tables.numbers import NumberReading, read_numbers


def read(*texts: str, separator: str = ",", others: tuple[str, ...] = (), **said: str) -> NumberReading:
    """The numbers of a column, beside another one."""
    columns = {"y": texts} | ({"other": others} if others else {})
    apart = {
        name: (list(cells), np.ones(len(cells), int), np.arange(len(cells)))
        for name, cells in columns.items()
    }
    return read_numbers(apart, Convention(**said), separator)["y"]  # type: ignore[arg-type]


def values(*texts: str, **said: str) -> list[float] | None:
    found = read(*texts, **said).values  # type: ignore[arg-type]
    return None if found is None else found.tolist()


class TestMarks:
    @pytest.mark.parametrize(
        ("texts", "found"),
        [
            (("1", "2.5", ".5", "5.", "+7", "1e3"), [1, 2.5, 0.5, 5, 7, 1000]),
            (("3", "0,5", "2"), [3, 0.5, 2]),
            (("1,332.5", "999", "1,000,000"), [1332.5, 999, 1_000_000]),
            (("1.332,5", "999", "1.000.000"), [1332.5, 999, 1_000_000]),
            (("1 332", "25\u00a0000,5", "7\u202f000"), [1332, 25000.5, 7000]),
            (("1'332.50", "8\N{RIGHT SINGLE QUOTATION MARK}000"), [1332.5, 8000]),
            (("12,34,567", "1,00,000.5"), [1234567, 100000.5]),
            (("\N{MINUS SIGN}5", "-5", "\N{EN DASH}6", "(1,234.5)"), [-5, -5, -6, -1234.5]),
            (("$1,234.50", "-$5", "$ 7"), [1234.5, -5, 7]),
            (("1.234,50 \N{EURO SIGN}", "7 \N{EURO SIGN}"), [1234.5, 7]),
            (("EUR 5", "12.5", "EUR 0.25"), [5, 12.5, 0.25]),
            (("12%", "7.5 %", "0"), [12, 7.5, 0]),
            (("007", "01"), [7, 1]),
            (("1.234,50-", "1.250,00", "7,00 EUR", "0,50- EUR"), [-1234.5, 1250, 7, -0.5]),
        ],
    )
    def test_the_whole_column_decides(self, texts: tuple[str, ...], found: list[float]) -> None:
        assert values(*texts) == found

    @pytest.mark.parametrize(
        "texts",
        [
            ("1.2.3", "4.5.6"),
            ("1,2,3", "4,5,6"),
            ("12:30", "13:45"),
            ("2024-01-01", "2024-01-02"),
            ("0x1F", "0x20"),
            ("1_000", "2_000"),
            ("5-", "6-"),
            ("2-", "2", "3", "1"),
            ("1.5-", "2.5-", "3.5"),
            ("1.5-", "-2.5", "3.5", "4.5"),
            ("AB 12", "CD 13"),
            ("1 2", "3 4"),
        ],
    )
    def test_what_is_no_number(self, texts: tuple[str, ...]) -> None:
        assert values(*texts) is None

    @pytest.mark.parametrize(
        ("texts", "why"),
        [
            (("$5", "\N{EURO SIGN}7"), r"holds several currencies \(\$, \N{EURO SIGN}\)"),
            (("5%", "0.5"), r"has values with and without % \('5%' in row 1, '0.5' in row 2\)"),
            (("1.5", "2,5"), r"has decimal points and decimal commas \('1.5' in row 1, '2,5' in row 2\)"),
        ],
    )
    def test_what_contradicts_itself_is_refused(self, texts: tuple[str, ...], why: str) -> None:
        reading = read(*texts)
        assert reading.values is None and reading.refusal is not None
        with pytest.raises(AssertionError, match=why):
            raise AssertionError(reading.refusal)


class TestTwoWays:
    @pytest.mark.parametrize(
        ("separator", "texts", "found"),
        [
            (";", ("1.332", "2.450"), [1332, 2450]),
            (",", ("1.332", "2.450"), [1.332, 2.45]),
            (";", ("1,332", "2,450"), [1.332, 2.45]),
            (",", ("1,332", "2,450"), [1332, 2450]),
        ],
    )
    def test_the_separator_decides_and_it_is_said(
        self, separator: str, texts: tuple[str, ...], found: list[float]
    ) -> None:
        reading = read(*texts, separator=separator)
        assert reading.values is not None and reading.values.tolist() == found
        assert f"'y' may be read in two ways: {texts[0]} is taken for {found[0]:g}" in reading.remarks[-1]
        assert f"as is usual in files separated by '{separator}'; give decimal=" in reading.remarks[-1]

    def test_the_users_word_comes_first(self) -> None:
        for decimal, found in ((".", [1.332, 2.45]), (",", [1332, 2450])):
            reading = read("1.332", "2.450", separator=";", decimal=decimal)
            assert reading.values is not None and reading.values.tolist() == found
            assert not any("two ways" in remark for remark in reading.remarks)
        assert values("1.332", "2.450", separator=";", thousands="") == [1.332, 2.45]

    def test_its_own_values_come_before_all_else(self) -> None:
        assert values("1.332", "0.512", separator=";") == [1.332, 0.512]
        assert values("1.332", "25000", separator=";") == [1.332, 25000]
        assert values("1.332", "25", separator=";") == [1332, 25]

    def test_what_whole_numbers_tell_is_said_and_numbers_beyond_tell_nothing(self) -> None:
        remarks = read("1.332", "25000", separator=";").remarks
        assert "1.332 is taken for 1.332, as 25000 is written without a mark; give decimal=','" in remarks[-1]
        found = values("1,332", "127", "9" * 400)
        assert found is not None and found[:2] == [1332, 127]

    def test_other_columns_come_before_the_separator(self) -> None:
        reading = read("1.332", "2.450", separator=";", others=("0.5", "7.25"))
        assert reading.values is not None and reading.values.tolist() == [1.332, 2.45]
        assert "as other columns show" in reading.remarks[-1]
        known = read("1.332", "2.450", separator=";", likely=".")
        assert known.values is not None and known.values.tolist() == [1.332, 2.45]
        assert "as the model was trained on" in known.remarks[-1]

    def test_blanks_leave_no_doubt(self) -> None:
        assert not any("two ways" in remark for remark in read("1 332", "2 450").remarks)


class TestLimits:
    def test_what_is_beyond_counts_as_missing_and_is_counted(self) -> None:
        reading = read("1e300", "9" * 400, "inf", "-Infinity", "\N{INFINITY}", "5", "1e99")
        assert reading.values is not None
        assert np.isfinite(reading.values).tolist() == [False] * 5 + [True] * 2
        assert reading.remarks == [
            "5 values of 'y' are infinite or beyond 1e+100 (first: '1e300' in row 1) and count as missing"
        ]

    def test_lost_digits_are_counted(self) -> None:
        reading = read("1234567890123456789", "9007199254740992", "7")
        assert "1 values of 'y' have more digits than a number holds" in reading.remarks[0]

    def test_stand_ins_are_missing_and_said(self) -> None:
        reading = read("1", "?", "n/a", "", "NaN", "-", "2.5")
        assert reading.values is not None and np.isnan(reading.values).sum() == 5
        assert "'?' in 'y' counts as missing (1 values)" in reading.remarks

    def test_few_odd_texts_are_borne_and_many_are_not(self) -> None:
        texts = [str(i) for i in range(30)]
        reading = read(*texts, "12 or so")
        assert "1 values of 'y' are not numbers (first: '12 or so' in row 31)" in reading.remarks[0]
        assert values(*texts[:5], "12 or so") is None

    def test_what_is_wrong_with_mostly_numbers_is_said(self) -> None:
        texts = [str(i) for i in range(30)]
        refusal = read(*texts, *["<0.5"] * 7).refusal
        assert refusal == (
            "has 7 values of 37 that are not numbers (first: '<0.5' in row 31); missing='<0.5' counts them as missing"
        )
        assert read(*texts, *(f"about {i}" for i in range(9))).refusal == (
            "has 9 values of 39 that are not numbers (first: 'about 0' in row 31)"
        )
        assert read("1", "two", "three").refusal is None


@settings(max_examples=200, deadline=None, derandomize=True)
@given(
    st.lists(st.floats(allow_nan=False, allow_infinity=False, min_value=-1e99, max_value=1e99), min_size=1)
)
def test_what_python_writes_is_read_to_the_last_bit(numbers: list[float]) -> None:
    texts = list(dict.fromkeys(repr(number) for number in numbers))
    assert values(*texts) == [float(text) for text in texts]


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.lists(st.text(alphabet="0123456789.,' -+%$()eE\u00a0aN", max_size=9), min_size=1, max_size=8))
def test_any_texts_are_read_without_an_error(texts: list[str]) -> None:
    reading = read(*dict.fromkeys(texts))
    if reading.values is not None:
        assert not any(math.isinf(value) for value in reading.values)
