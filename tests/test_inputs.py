"""The layout of a batch: real tokens first, packed sequences in rows of their own."""

from __future__ import annotations

import torch

from anyformer import Context, create_mixer
from anyformer.inputs import Layout


def test_alignment_puts_real_tokens_first_and_back() -> None:
    x = torch.arange(1.0, 11.0).reshape(2, 5, 1)
    mask = torch.tensor([[False, True, False, True, True], [True, False, False, False, False]])
    layout = Layout.of(x, mask)
    aligned = layout.align(x)
    assert aligned[..., 0].tolist() == [[2, 4, 5, 0, 0], [6, 0, 0, 0, 0]]
    assert torch.equal(layout.restore(aligned), x * mask[..., None])


def test_packed_sequences_get_rows_of_their_own() -> None:
    x = torch.arange(1.0, 7.0).reshape(1, 6, 1)
    layout = Layout.of(x, torch.tensor([[2, 2, 0, 1, 2, 1]]))
    aligned = layout.align(x)
    assert aligned[..., 0].tolist() == [[4, 6, 0], [1, 2, 5]]
    assert layout.restore(aligned)[0, :, 0].tolist() == [1, 2, 0, 4, 5, 6]


def test_a_batch_of_nothing_but_padding() -> None:
    mixer = create_mixer("retention", 8)
    x = torch.randn(2, 4, 8)
    assert torch.equal(mixer(x, mask=torch.zeros(2, 4, dtype=torch.bool)), torch.zeros(2, 4, 8))
    assert torch.equal(mixer(x, mask=torch.zeros(2, 4, dtype=torch.int64)), torch.zeros(2, 4, 8))
    assert mixer(x[:, :0]).shape == (2, 0, 8)


def test_packed_context_is_matched_by_id() -> None:
    mixer = create_mixer("cross_attention", 8).eval()
    x, keys = torch.randn(1, 4, 8), torch.randn(1, 5, 8)
    ids, key_ids = torch.tensor([[1, 1, 2, 2]]), torch.tensor([[2, 1, 1, 2, 0]])
    y = mixer(x, mask=ids, context=Context(keys, key_ids))
    for n in (1, 2):
        alone = mixer(x[:, ids[0] == n], context=Context(keys[:, key_ids[0] == n]))
        torch.testing.assert_close(y[:, ids[0] == n], alone)
