"""JSONL of words with tags, and of texts with spans."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from anyformer.errors import DataError
from anyformer.metrics._spans import spans_of
from anyformer.tasks.tags.jsonl import looks_tagged, read_records


def file(folder: Path, *records: Any) -> Path:
    (folder / "a.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    return folder / "a.jsonl"


def test_words_with_tags(tmp_path: Path) -> None:
    held = read_records(
        file(
            tmp_path,
            {"id": 1, "tokens": ["a", "New York"], "ner_tags": [0, 3]},
            {"tokens": [], "ner_tags": []},
        ),
        None,
        None,
    )
    assert (held.form, held.text, held.target) == ("tokens", "tokens", "ner_tags")
    assert held.tags() == [["0", "3"], []] and held.words == [["a", "New York"], []]


def test_fields_by_name(tmp_path: Path) -> None:
    path = file(tmp_path, {"w": ["a"], "t": ["X"], "tokens": ["b"], "tags": ["Y"]})
    assert read_records(path, "w", "t").tags() == [["X"]] and read_records(path, None, None).tags() == [["Y"]]
    with pytest.raises(DataError, match="target.*has no field 'tag'; did you mean 'tags' or 't'"):
        read_records(path, None, "tag")
    with pytest.raises(DataError, match="was found among 'w', 't': name them by"):
        read_records(file(tmp_path, {"w": ["a"], "t": ["X"]}), None, None)


def test_spans_become_tags_and_tags_spans(tmp_path: Path) -> None:
    text = "Ada Fox (né Hill) flew to New York!"
    given = [
        {"start": 0, "end": 7, "label": "PER"},
        [26, 34, "LOC"],
        {"start": 9, "end": 10, "label": "W"},
        {"start": 3, "end": 4, "label": "W"},
    ]
    held = read_records(file(tmp_path, {"text": text, "spans": given}), None, None)
    assert held.words == [["Ada", "Fox", "(", "né", "Hill", ")", "flew", "to", "New", "York", "!"]]
    (tags,) = held.tags()
    assert tags == ["B-PER", "I-PER", "O", "B-W", "O", "O", "O", "O", "B-LOC", "I-LOC", "O"]
    assert held.remarks == [
        "spans that begin or end inside a word or at a blank, and take whole words: 1",
        "spans left out, as they overlap an earlier one or hold no word: 1",
    ]
    assert held.written(0, spans_of(tags), tags) == [
        {"start": 0, "end": 7, "label": "PER"},
        {"start": 9, "end": 11, "label": "W"},
        {"start": 26, "end": 34, "label": "LOC"},
    ]


@pytest.mark.parametrize(
    "records, said",
    [
        (
            [{"tokens": ["a"], "tags": ["X"]}, {"tokens": ["a"], "tags": ["X", "Y"]}],
            "line 2: 'tags' .* got 2 tags",
        ),
        ([{"tokens": ["a"], "tags": ["X"]}, {"tokens": ["a"]}], "line 2: 'tags' .* got None"),
        (
            [{"tokens": ["a"], "tags": ["X"]}, {"tags": []}],
            "line 2: 'tokens' must be a list of words, got 'None'",
        ),
        (
            [{"text": "ab", "spans": [[0, 1, "X"]]}, {"text": "ab", "spans": [[1, 3, "X"]]}],
            "line 2: 'spans' .*inside",
        ),
        (
            [{"text": "ab", "spans": [[0, 1, "X"]]}, {"text": "ab", "spans": [{"start": 0}]}],
            "line 2: 'spans'",
        ),
        ([{"text": "ab", "spans": [[0, 1, "X"]]}, {"text": None}], "line 2: 'text' must be a text"),
        ([{"tokens": ["a"], "tags": ["X"]}, [1]], "line 2 must hold an object"),
        ([], "is empty"),
    ],
)
def test_bad_records(tmp_path: Path, records: list[Any], said: str) -> None:
    with pytest.raises(DataError, match=said):
        read_records(file(tmp_path, *records), None, None).tags()


def test_lines_are_counted_in_the_file(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"tokens": ["a"], "tags": ["X"]}\n\n{"tokens": 1}\n')
    with pytest.raises(DataError, match="line 3: 'tokens'"):
        read_records(tmp_path / "a.jsonl", None, None)
    (tmp_path / "a.jsonl").write_text('{"tokens": ["a"], "tags": ["X"]}\n{]\n')
    with pytest.raises(DataError, match="line 2 is not JSON"):
        read_records(tmp_path / "a.jsonl", None, None)


def test_what_looks_tagged() -> None:
    assert looks_tagged({"tokens": ["a"], "tags": ["X"]}) and looks_tagged({"text": "a b", "spans": []})
    for other in (
        {"text": "a", "label": "X"},
        {"text": "a"},
        {"tokens": ["a"], "tags": []},
        [1],
        {"text": "a", "label": [1, 2]},
    ):
        assert not looks_tagged(other)
