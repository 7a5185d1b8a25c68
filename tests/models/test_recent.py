"""The tokens that a head reads: by loops, padded on either side, piece by piece."""

from __future__ import annotations

import pytest
import torch

from anyformer.models.recent import check_tells_next, head_tokens, last_tokens, numbered

X = torch.tensor([[4, 0, 2, 7], [1, 1, 3, 5]])
MASK = torch.tensor([[False, True, True, True], [True, True, False, False]])


def test_windows_end_at_each_token_and_tell_the_next_where_asked() -> None:
    found = head_tokens(X, None, 3, following=True)
    assert found[0].tolist() == [[0, 0, 5, 1], [0, 5, 1, 3], [5, 1, 3, 8], [1, 3, 8, 0]]
    assert head_tokens(X, None, 3)[..., -1].eq(0).all()
    padded = head_tokens(X, MASK, 2, following=True)
    assert padded[0].tolist() == [[0, 0, 1], [0, 1, 3], [1, 3, 8], [3, 8, 0]]
    assert padded[1, :2].tolist() == [[0, 2, 2], [2, 2, 0]]
    assert head_tokens(X[:, :0], None, 3).shape == (2, 0, 4)


@pytest.mark.parametrize("width", [1, 3])
def test_pieces_are_as_the_whole(width: int) -> None:
    before, parts = torch.zeros(2, width - 1, dtype=torch.int64), []
    for piece in X.split([1, 2, 1], 1):
        parts.append(head_tokens(piece, None, width, before=before))
        before = last_tokens(piece, None, before)
    assert torch.equal(torch.cat(parts, 1), head_tokens(X, None, width))


def test_only_real_tokens_are_kept() -> None:
    assert last_tokens(X, MASK.flip(0), torch.zeros(2, 2, dtype=torch.int64))[0].tolist() == [5, 1]
    assert numbered(X, MASK)[1].tolist() == [2, 2, 0, 0]


def test_as_many_outputs_as_tokens() -> None:
    check_tells_next("ngrams", 5, 5)
    with pytest.raises(ValueError, match="head: ngrams tells of the next token, .* got 4 and 5"):
        check_tells_next("ngrams", 4, 5)
