from __future__ import annotations

import torch

from anyformer.caches.numbered import put, widen


def test_tokens_stand_at_their_numbers() -> None:
    past = torch.ones(2, 1, 2, 3)
    new = torch.arange(12.0).reshape(2, 1, 2, 3)
    number = torch.tensor([[2, 3], [2, -1]])
    found = put(past, new, number, 4)
    assert torch.equal(found[0, 0], torch.cat([past[0, 0], new[0, 0]]))
    assert torch.equal(found[1, 0], torch.cat([past[1, 0], new[1, 0, :1], torch.zeros(1, 3)]))
    assert bool((past == 1).all())


def test_bounds_of_pages_grow_with_their_tokens() -> None:
    k = torch.randn(2, 3, 10, 4)
    low = high = torch.zeros(2, 3, 0, 4)
    page = torch.arange(10).expand(2, 10).clone() // 4
    page[1, 9] = -1
    for start, stop, size in ((0, 6, 2), (6, 10, 3)):
        low, high = widen(low, high, k[:, :, start:stop], page[:, start:stop], size)
    for n, tokens in enumerate((slice(0, 4), slice(4, 8), slice(8, 10))):
        torch.testing.assert_close(low[0, :, n], k[0, :, tokens].amin(1))
        torch.testing.assert_close(high[0, :, n], k[0, :, tokens].amax(1))
    torch.testing.assert_close(high[1, :, 2], k[1, :, 8])
