from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from anyformer.spelling import command_line, option
from anyformer.tasks import create_task
from anyformer.tasks.options import options_of_data, typed_options
from anyformer.tasks.readers import options_by_kind, readers


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
        ("quantiles=0.5", 0.5),
        ("quantiles=0.1, 0.5,0.9", [0.1, 0.5, 0.9]),
        ("quantiles=[0.1, 0.9]", [0.1, 0.9]),
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
        (["quantiles=low,high"], "--option quantiles must be of the type float or Sequence, got 'low,high'"),
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
    taken = {name for entry in readers for name in entry.target.options()} - {"target"}
    assert listed == taken
    assert all(len(meaning) > 10 for options in options_of_data().values() for meaning in options.values())


def test_options_are_spelled_as_they_are_typed() -> None:
    assert option("group", "a b") == "group='a b'"
    with command_line():
        assert option("group", "a b") == "--option group='a b'"
        assert option("missing", "") == "--option missing=''"
        assert option("target", ["a", "b"]) == "--target a,b"
    assert option("group") == "group"


KINDS_OF_FILES = {"rows.csv": "tables", "array.npz": ".npz files", "words.txt": "text"}


@pytest.mark.parametrize("file", KINDS_OF_FILES)
@pytest.mark.parametrize("name", ["grup", "hoirzon", "kindd", "zzz", "path", "Date"])
def test_an_unknown_option_gets_the_nearest_that_this_data_takes(
    tmp_path: Path, file: str, name: str
) -> None:
    kind = KINDS_OF_FILES[file]
    takes = {one for part, names in options_by_kind().items() if part.startswith(kind) for one in names}
    (tmp_path / file).write_text("a,b\n1,2\n")
    with command_line(), pytest.raises(ValueError, match=f"has no option '{name}'; ") as caught:
        create_task(tmp_path / file, **{name: "x"})
    message = str(caught.value)
    named = set(re.findall(r"--option (\w+)", message))
    assert named and named <= takes and "path," not in message and "seed" not in message
    near = {"grup": "group", "hoirzon": "horizon", "kindd": "kind", "Date": "date"}.get(name)
    assert near not in takes or f"did you mean --option {near}" in message


@pytest.mark.parametrize("columns", [3, 60])
@pytest.mark.parametrize("wish", ["AMOUNT", "amuont", "qqq"])
def test_a_mistaken_column_gets_the_nearest_ones(tmp_path: Path, wish: str, columns: int) -> None:
    names = ["amount", "store", *(f"x{i}" for i in range(columns - 2))]
    (tmp_path / "data.csv").write_text(",".join(names) + "\n" + ",".join("1" * columns) + "\n")
    for argument in ("target", "group", "drop"):
        given = {"target": "store", argument: wish}
        with command_line(), pytest.raises(ValueError, match=f"has no column '{wish}'; ") as caught:
            create_task(tmp_path / "data.csv", **given)
        message = str(caught.value)
        assert message.startswith("--target" if argument == "target" else f"--option {argument}")
        assert (
            ("did you mean 'amount'?" in message) if wish != "qqq" else ("'amount', 'store', 'x0'" in message)
        )
        assert ("and 40 more" in message) == (wish == "qqq" and columns == 60)


@pytest.mark.parametrize(
    ("options", "hint"),
    [
        ({"target": "word", "kind": "forecast"}, "kind=classify"),
        ({"target": "word", "kind": "regress"}, "kind=classify"),
        ({"target": "word", "date": "day"}, "kind=classify"),
        ({"target": "x", "kind": "classify"}, "kind=regress"),
        ({"target": "x", "horizon": 3, "date": "none"}, "kind=forecast"),
        ({"target": "x", "length": 3}, "kind=classify or --option kind=regress"),
        ({"target": "x", "kind": "forcast"}, "did you mean 'forecast'"),
    ],
)
def test_a_wish_for_another_kind_says_which(tmp_path: Path, options: dict[str, Any], hint: str) -> None:
    rows = [f"2024-01-{i:02d},{i * 0.37 % 1:.3f},{'uv'[i % 2]}" for i in range(1, 31)]
    (tmp_path / "data.csv").write_text("day,x,word\n" + "\n".join(rows) + "\n")
    with command_line(), pytest.raises(ValueError, match=hint) as caught:
        create_task(tmp_path / "data.csv", **options)
    assert "\n" not in str(caught.value)


def test_options_in_notes_can_be_typed_as_they_stand(tmp_path: Path) -> None:
    rows = [f"{i},{i * 0.37 % 1:.3f},{'uv'[i % 2]}" for i in range(1, 41)]
    (tmp_path / "data.csv").write_text(",x,label\n" + "\n".join(rows) + "\n")
    with command_line():
        notes = create_task(tmp_path / "data.csv", target="label").notes()
    assert any("--option keep='Unnamed: 0' takes it" in note for note in notes)
