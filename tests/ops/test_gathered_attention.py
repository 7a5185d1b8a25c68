from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

import anyformer.ops.gathered_attention as module
from anyformer.ops.attention import attention
from anyformer.ops.gathered_attention import gathered_attention


def make(T: int, S: int, N: int, H: int = 4, G: int = 2, B: int = 3) -> tuple[list[Tensor], Tensor]:
    torch.manual_seed(T * 31 + S)
    shapes = ((B, H, T, 4), (B, G, S, 4), (B, G, S, 3))
    return [torch.randn(shape, dtype=torch.float64) for shape in shapes], torch.randint(-1, S, (B, H, T, N))


@pytest.mark.parametrize("T, S, N, rows", [(13, 29, 5, 100), (13, 29, 5, 4), (1, 1, 1, 100)])
def test_agrees_with_the_definition(
    agrees: Callable[..., None], monkeypatch: pytest.MonkeyPatch, T: int, S: int, N: int, rows: int
) -> None:
    monkeypatch.setattr(module, "TILE_ELEMENTS", rows * 3 * 4 * 4 * N)
    (q, k, v), slots = make(T, S, N)
    slots[0, 0, 0] = -1
    agrees(lambda **a: gathered_attention(slots=slots, **a), q=q, k=k, v=v)
    bias = torch.randn(1, 4, T, N, dtype=torch.float64)
    agrees(lambda **a: gathered_attention(slots=slots[:1, :1], scale=0.3, **a), q=q, k=k, v=v, bias=bias)


def test_lists_of_all_keys_are_attention() -> None:
    (q, k, v), _ = make(9, 11, 1)
    y = gathered_attention(q, k, v, torch.arange(11).expand(1, 1, 9, 11))
    torch.testing.assert_close(y, attention(q, k, v))


def test_an_empty_list_gives_zeros() -> None:
    (q, k, v), slots = make(4, 6, 2)
    slots[1, 2, 3] = -1
    assert bool((gathered_attention(q, k, v, slots)[1, 2, 3] == 0).all())


def test_errors() -> None:
    (q, k, v), slots = make(4, 6, 2)
    with pytest.raises(ValueError, match="slots must be below the number of keys, 6, got 6"):
        gathered_attention(q, k, v, torch.full_like(slots, 6))
    with pytest.raises(
        ValueError, match=r"slots must be int64 of shape \(3, 4, 4, keys\), got \(3, 4, 3, 2\)"
    ):
        gathered_attention(q, k, v, slots[:, :, :3])
    with pytest.raises(ValueError, match=r"bias must be broadcastable to \(3, 4, 4, 2\), got \(3, 4, 4, 3\)"):
        gathered_attention(q, k, v, slots, bias=torch.zeros(3, 4, 4, 3))
