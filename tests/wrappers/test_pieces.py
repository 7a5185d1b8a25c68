"""Pieces of a call: every real token once and in order, none across a multiple of the period."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from anyformer.contract import Call, Inputs
from anyformer.wrappers._pieces import pieces

SAMPLES = st.lists(st.tuples(st.integers(0, 20), st.integers(0, 9)), min_size=1, max_size=4)


@settings(derandomize=True, max_examples=60, deadline=None)
@given(samples=SAMPLES, period=st.integers(1, 7))
def test_pieces_are_a_partition_by_periods(samples: list[tuple[int, int]], period: int) -> None:
    """Each sample is at its own token and has its own number of real tokens."""
    starts, lengths = (torch.tensor(numbers) for numbers in zip(*samples))
    T = int(lengths.max())
    index = starts[:, None] + torch.arange(T)
    mask = torch.arange(T) < lengths[:, None]
    x = torch.randn(len(samples), T, 2)
    y = torch.zeros_like(x)
    seen: list[list[int]] = [[] for _ in samples]
    for piece in pieces(Inputs(mask, index, index.float(), None, Call()), period):
        y = piece.put(y, piece.of(x))
        for b, numbers in enumerate(seen):
            new = piece.inputs.index[b][piece.inputs.mask[b]].tolist()
            assert len({n // period for n in new}) <= 1
            assert bool(piece.starts[b]) == any(n % period == 0 for n in new)
            assert bool(piece.ends[b]) == any(n % period == period - 1 for n in new)
            numbers += new
    assert seen == [list(range(start, start + length)) for start, length in samples]
    torch.testing.assert_close(y, x * mask[..., None])
