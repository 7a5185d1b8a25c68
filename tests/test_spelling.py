"""Options in messages are spelled as the user types them."""

from __future__ import annotations

import shlex

import pytest

from anyformer.spelling import command_line, option


@pytest.mark.parametrize(
    ("name", "value", "python", "shell"),
    [
        ("group", "store", "group='store'", "--option group=store"),
        ("target", ["a", "b"], "target=['a', 'b']", "--target a,b"),
        ("metric", "f1", "metric='f1'", "--metric f1"),
        ("raw", False, "raw=False", "--option raw=false"),
        ("date", None, "date", "--option date"),
        ("future", "week.csv", "future='week.csv'", "--future week.csv"),
        ("missing", "no data", "missing='no data'", "--option missing='no data'"),
    ],
)
def test_both_ways(name: str, value: object, python: str, shell: str) -> None:
    assert option(name, value) == python  # type: ignore[arg-type]
    with command_line():
        assert option(name, value) == shell  # type: ignore[arg-type]
    assert option(name, value) == python  # type: ignore[arg-type]


@pytest.mark.parametrize("value", ["a b", "it's", "$HOME", "a;b", "", "*"])
def test_a_shell_reads_what_was_meant(value: str) -> None:
    with command_line():
        words = shlex.split(option("group", value))
    assert words == ["--option", f"group={value}"]


def test_an_error_inside_ends_it() -> None:
    with pytest.raises(RuntimeError), command_line():
        raise RuntimeError
    assert option("date") == "date"
