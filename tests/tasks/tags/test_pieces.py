"""Sentences as bytes in pieces."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from anyformer.questions import IGNORED, UNKNOWN
from anyformer.tasks.tags.pieces import Pieces, words_in


def test_one_worked_by_hand() -> None:
    pieces = Pieces.of([["A", "fox"], [], ["é"]], 16)
    batch = pieces.batch(np.arange(2), np.array([5, 6, 7]))
    assert bytes(batch.x[0].tolist()) == b"A fox" and bytes(batch.x[1].tolist()) == "é".encode() + b"\0\0\0"
    assert batch.targets.tolist() == [
        [5, IGNORED, IGNORED, IGNORED, 6],
        [IGNORED, 7, IGNORED, IGNORED, IGNORED],
    ]
    assert batch.mask is not None and batch.mask.sum(1).tolist() == [5, 2]
    assert pieces.owner.tolist() == [0, 2] and pieces.remarks(16) == []
    assert pieces.batch(np.array([1])).targets.tolist() == [[IGNORED, UNKNOWN]]


def test_long_sentences_and_words() -> None:
    pieces = Pieces.of([["abc", "def", "ghi"], ["0123456789"]], 8)
    assert [pieces.data[a:b].tobytes() for a, b in zip(pieces.bounds, pieces.bounds[1:])] == [
        b"abc def",
        b"ghi",
        b"01234567",
    ]
    assert pieces.owner.tolist() == [0, 0, 1] and pieces.longest == 8
    assert pieces.remarks(8) == [
        "sentences longer than 8 bytes, read in pieces of whole words (a tag does not see beyond its piece): 1",
        "words longer than 8 bytes, which lose their last bytes: 1",
    ]


@settings(derandomize=True, max_examples=100, deadline=None)
@given(
    st.lists(st.lists(st.text(st.sampled_from("ab é"), min_size=1, max_size=6), max_size=7)),
    st.integers(12, 30),
)
def test_words_come_back(sentences: list[list[str]], length: int) -> None:
    pieces = Pieces.of(sentences, length)
    if not len(pieces):
        return
    assert pieces.longest <= length
    found = [word for words in words_in(pieces.batch(np.arange(len(pieces)))) for word in words]
    assert found == [word.encode() for sentence in sentences for word in sentence]
    numbers = np.arange(len(found))
    tags = np.concatenate(
        [pieces.batch(np.array([one]), numbers).targets.numpy()[0] for one in range(len(pieces))]
    )
    assert tags[tags != IGNORED].tolist() == numbers.tolist()
