"""The tokens that a head reads: by loops, padded on either side, piece by piece."""

from __future__ import annotations

import pytest
import torch

from anyformer.heads import create_head
from anyformer.models.recent import head_tokens, last_tokens, numbered, numbers_of, read_beside
from anyformer.schema import Field, StreamFacts

X = torch.tensor([[5, 1, 3, 8], [2, 2, 4, 6]])
"""Tokens numbered from 1."""
MASK = torch.tensor([[False, True, True, True], [True, True, False, False]])


def test_windows_end_at_each_token_and_the_next_stands_beside() -> None:
    windows, following = head_tokens(X, None, 3)
    assert windows[0].tolist() == [[0, 0, 5], [0, 5, 1], [5, 1, 3], [1, 3, 8]]
    assert following[0].tolist() == [1, 3, 8, 0]
    windows, following = head_tokens(X, MASK, 2)
    assert windows[0].tolist() == [[0, 0], [0, 1], [1, 3], [3, 8]] and following[0].tolist() == [0, 3, 8, 0]
    assert windows[1].tolist() == [[0, 2], [2, 2], [0, 0], [0, 0]] and following[1].tolist() == [2, 0, 0, 0]
    assert head_tokens(X[:, :0], None, 3)[0].shape == (2, 0, 3)
    assert head_tokens(X[:0], MASK[:0], 3)[0].shape == (0, 4, 3)


def test_what_is_masked_between_tokens_and_packed_sequences_are_left_out() -> None:
    windows, following = head_tokens(X[:1], torch.tensor([[True, False, True, True]]), 3)
    assert windows[0].tolist() == [[0, 0, 5], [0, 0, 0], [0, 5, 3], [5, 3, 8]]
    assert following[0].tolist() == [3, 0, 8, 0]
    windows, following = head_tokens(X[:1], torch.tensor([[2, 1, 0, 2]]), 2)
    assert windows[0].tolist() == [[0, 5], [0, 1], [0, 0], [5, 8]] and following[0].tolist() == [8, 0, 0, 0]


@pytest.mark.parametrize(
    "mask", [None, torch.tensor([[True, False, True, True], [False, True, True, False]])]
)
@pytest.mark.parametrize("width", [1, 3])
def test_pieces_are_as_the_whole(width: int, mask: torch.Tensor | None) -> None:
    before, parts, sizes = torch.zeros(2, width - 1, dtype=torch.int64), [], [1, 2, 1]
    masks = [None] * 3 if mask is None else mask.split(sizes, 1)
    for piece, real in zip(X.split(sizes, 1), masks):
        parts.append(head_tokens(piece, real, width, before=before)[0])
        before = last_tokens(piece, real, before)
    assert torch.equal(torch.cat(parts, 1), head_tokens(X, mask, width)[0])


def test_only_real_tokens_are_kept() -> None:
    none = torch.zeros(2, 2, dtype=torch.int64)
    assert last_tokens(X, MASK.flip(0), none)[0].tolist() == [5, 1]
    assert last_tokens(X, torch.tensor([[True, False, True, False]] * 2), none)[0].tolist() == [5, 3]


def test_heads_read_answers_in_training_alone() -> None:
    head = create_head("ngrams", 4, 9, options={"longest": 3})
    assert list(read_beside(X, None, head)) == ["tokens"]
    found = read_beside(X, None, head, training=True)
    assert found["following"].tolist() == head_tokens(X, None, 3)[1].tolist() and "sample" not in found
    at, answers = torch.tensor([[2], [0]]), torch.tensor([[3], [-100]])
    asked = read_beside(X, None, head, at=at, following=answers, training=True)
    assert asked["tokens"].tolist() == [[[5, 1, 3]], [[0, 0, 2]]] and asked["following"].tolist() == [
        [4],
        [0],
    ]
    assert numbered(torch.tensor([-100, -1, 0, 3])).tolist() == [0, 0, 1, 4]


def test_some_heads_read_the_whole_sample() -> None:
    head = create_head("neighbours", 4, 9, options={"longest": 2})
    found = read_beside(X, MASK, head, following=X - 1, training=True)["sample"]
    assert found.shape == (2, 4, 8) and bool((found == found[:, :1]).all())
    assert found[0, 0].tolist() == [0, 1, 3, 8, 5, 1, 3, 8]
    packed = read_beside(X, torch.tensor([[1, 1, 2, 0]] * 2), head, following=X - 1, training=True)["sample"]
    assert packed[0, 0].tolist() == [5, 1, 0, 0, 5, 1, 0, 0] and packed[0, 2].tolist() == [
        0,
        0,
        3,
        0,
        0,
        0,
        3,
        0,
    ]
    one = read_beside(X, None, head, at=torch.tensor([[3]] * 2), following=X[:, :1], training=True)["sample"]
    assert one[0].tolist() == [[5, 1, 3, 8, 6]]


def test_the_category_that_is_asked_is_numbered_as_the_outputs() -> None:
    facts = StreamFacts(fields=[Field(name="a", size=3), Field(name="item", size=6)], asked="item")
    codes = {"item": torch.tensor([[0, 1, 2, 5]])}
    assert numbers_of(codes, facts, 4).tolist() == [[0, 0, 1, 4]]
    assert numbers_of(torch.tensor([[0, 3]]), None, 4).tolist() == [[1, 4]]
    with pytest.raises(ValueError, match="asked must be a category of the stream, got 'b'"):
        StreamFacts(fields=[Field(name="a", size=3), Field(name="b", width=1)], asked="b")
