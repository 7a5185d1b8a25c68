from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import pytest

from anyformer.spelling import command_line, option
from anyformer.tasks.files import open_data
from anyformer.tasks.options import options_of_data, typed_options


@pytest.mark.parametrize(
    ("typed", "found"),
    [
        ("group=store", "store"),
        ("group=['store','category']", ["store", "category"]),
        ("group=[store, category]", ["store", "category"]),
        ("group=NO", "NO"),
        ("group=1.0", "1.0"),
        ("group=2024", "2024"),
        ("missing=null", "null"),
        ("missing=", ""),
        ("missing=[-999, NA]", ["-999", "NA"]),
        ("target=[A,B]", ["A", "B"]),
        ("decimal=,", ","),
        ("thousands='", "'"),
        ("thousands= ", " "),
        ("date='my day'", "my day"),
        ("date_format=%d.%m.%Y: %H", "%d.%m.%Y: %H"),
        ("horizon=14", 14),
        ("raw=yes", True),
        ("raw=off", False),
        ("dayfirst=true", True),
        ("kind=forecast", "forecast"),
    ],
)
def test_options_are_read_by_their_type(typed: str, found: Any) -> None:
    assert typed_options("data.csv", [typed]) == {typed.partition("=")[0]: found}


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        (["horizon=four"], "--option horizon must be of the type int, got 'four'"),
        (["raw=fasle"], "--option raw must be of the type bool, got 'fasle'"),
        (["horizon=1.5"], "--option horizon must be of the type int, got '1.5'"),
        (["group"], "--option must be written name=value, got 'group'"),
        (["group=a", "group=b"], "--option group is given twice"),
        (["group=[a"], None),
        (["group=['a]"], r"--option group: .* cannot be read"),
    ],
)
def test_what_is_of_another_type_is_named(typed: list[str], message: str | None) -> None:
    with command_line():
        if message is None:
            assert typed_options("data.csv", typed) == {"group": "[a"}
            return
        with pytest.raises(ValueError, match=message.replace("[", r"\[") if ".*" not in message else message):
            typed_options("data.csv", typed)


def test_tasks_by_name_have_types_of_their_own() -> None:
    assert typed_options("recall", ["length=64"]) == {"length": 64}
    with pytest.raises(ValueError, match="length must be of the type int, got 'four'"):
        typed_options("recall", ["length=four"])


def test_a_task_of_the_users_own_without_types_gets_yaml(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("def make(size, names=None, seed=0):\n    raise ValueError\n")
    found = typed_options(f"{tmp_path / 'mine.py'}:make", ["size=3", "names=[a, b]"])
    assert found == {"size": 3, "names": ["a", "b"]}


def test_help_lists_every_option_of_data_with_its_meaning() -> None:
    listed = {name for options in options_of_data().values() for name in options}
    taken = set(inspect.signature(open_data).parameters) - {"path", "target", "seed"}
    assert listed == taken
    assert all(len(meaning) > 10 for options in options_of_data().values() for meaning in options.values())


def test_options_are_spelled_as_they_are_typed() -> None:
    assert option("group", "a b") == "group='a b'"
    with command_line():
        assert option("group", "a b") == "--option group='a b'"
        assert option("missing", "") == "--option missing=''"
        assert option("target", ["a", "b"]) == "--target a,b"
    assert option("group") == "group"
