"""The separator of delimited text."""

from __future__ import annotations

import csv
import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anyformer.tables.separators import (
    SEPARATORS,
    fields_of,
    find_separator,
    looks_like_value,
    name_rows,
    names_its_rows,
)

CELLS = st.text("ab1 .,;|\t\"'-", min_size=1, max_size=6).filter(str.strip)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.sampled_from(SEPARATORS), st.lists(st.lists(CELLS, min_size=3, max_size=3), min_size=2, max_size=6))
def test_a_file_with_quotes_where_needed_shows_it(separator: str, rows: list[list[str]]) -> None:
    text = io.StringIO()
    writer = csv.writer(text, delimiter=separator, quoting=csv.QUOTE_ALL)
    writer.writerows([["one", "two", "three"], *rows])
    assert find_separator(text.getvalue()) == separator


@pytest.mark.parametrize(
    ("text", "separator"),
    [
        ("date;x\n2024-01-01;1,5\n2024-01-02;2,5\n", ";"),
        ("a,b\n8;5,x\n", ","),
        ("a\tb\n1,5\t2,5\n", "\t"),
        ("a b c\n1 x 3\n4 y 6\n", " "),
        ('"x" "y"\n"1" "a b"\n"2" "c d"\n', " "),
        ("x y\nr1 1 2\nr2 3 4\n", " "),
        ('"x, y",note\nr1,1,a; b\nr2,2,c; d\n', ","),
        ('"x, y",a;z,note\nr1,1,5,a; b\nr2,2,6,c; d\n', ","),
        ('"x, y",note,z\nr1,1,a; b,5\nr2,2,c; d,\nr3,3,e; f,7\n', ","),
        ('"x, y",a;z,note\nr1,1,5,a; b\n"x, y",a;z,note\nr2,2,6,c; d\n', ","),
        ("number\n1 234\n2 345\n", ","),
        ("moment\n2024-01-01 10:00\n2024-01-01 11:00\n", ","),
        ("text\nof several words\nin one column\n", ","),
    ],
)
def test_known_texts(text: str, separator: str) -> None:
    assert find_separator(text) == separator


def test_rows_with_names_of_their_own() -> None:
    assert names_its_rows("x,y\nr1,1,2\nr2,3,4\n", ",", 2)
    assert names_its_rows("x,y\nr1,1,2\nx,y\nr2,3,4\n", ",", 2)  # the names of columns come again
    assert not names_its_rows("x,y\nr1,1,2\nr1,3,4\n", ",", 2)  # a name repeats
    assert not names_its_rows("x,y\n1,2,\n3,4,\n", ",", 2)  # a separator ends each line
    assert name_rows(["1", "2"]) and name_rows(["a", "b"])
    assert not name_rows(["1.5", "2.5"]) and not name_rows(["2024-01-01", "2024-01-02"])


def test_values_are_numbers_and_dates() -> None:
    for text in ("1", "-2.5e3", "1,332.50", "2024-01-01", "1.2.2024 10:00", "nan", "inf", "45 %"):
        assert looks_like_value(text), text
    for text in ("a", "x1", "one two", ""):
        assert not looks_like_value(text), text
    assert fields_of(["1 2", "3 a"], None) == (None, 2, 0.75)
    assert fields_of(["1 2", "3"], None) == (None, 0, 0.0)
