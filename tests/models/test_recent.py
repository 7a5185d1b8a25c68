"""The tokens that a head reads: by loops, padded on either side, piece by piece."""

from __future__ import annotations

import pytest
import torch

from anyformer.models.recent import head_tokens, last_tokens, numbered, read_beside

X = torch.tensor([[4, 0, 2, 7], [1, 1, 3, 5]])
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
    assert list(read_beside(X, None, 3)) == ["tokens"]
    found = read_beside(X, None, 3, training=True)
    assert found["following"].tolist() == head_tokens(X, None, 3)[1].tolist()
    at, answers = torch.tensor([[2], [0]]), torch.tensor([[3], [-100]])
    asked = read_beside(X, None, 3, at=at, following=answers, training=True)
    assert asked["tokens"].tolist() == [[[5, 1, 3]], [[0, 0, 2]]] and asked["following"].tolist() == [
        [4],
        [0],
    ]
    assert numbered(torch.tensor([-100, -1, 0, 3])).tolist() == [0, 0, 1, 4]
