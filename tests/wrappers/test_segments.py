"""Segments: the inner stack's outputs, gradients cut at each segment's start, side inputs carried along."""

from __future__ import annotations

import pytest
import torch

from anyformer import Call, create_mixer
from anyformer.contract import Inputs
from anyformer.wrappers._pieces import pieces
from anyformer.wrappers.segments import Segments


def test_outputs_are_the_inner_ones_and_side_inputs_follow() -> None:
    torch.manual_seed(0)
    inner = create_mixer("longformer", 8, window=3, num_global=0).double().eval()
    whole = Segments(8, inner, length=5).double().eval()
    x = torch.randn(2, 13, 8, dtype=torch.float64)
    marked = torch.rand(2, 13) > 0.8
    mask = torch.rand(2, 13) > 0.2
    for given in (None, mask):
        call = Call(side={"global_tokens": marked})
        expected = inner(x, mask=given, call=call)
        torch.testing.assert_close(whole(x, mask=given, call=call), expected)
        state, parts = whole.init_state(2), []
        for here in (slice(0, 4), slice(4, 11), slice(11, 13)):
            part, state = whole.stream(
                x[:, here],
                state,
                mask=None if given is None else given[:, here],
                call=Call(side={"global_tokens": marked[:, here]}),
            )
            parts.append(part)
        torch.testing.assert_close(torch.cat(parts, 1), expected)
    assert not torch.allclose(inner(x), inner(x, call=Call(side={"global_tokens": marked})))


@pytest.mark.parametrize("streamed", [False, True])
def test_the_gradient_stops_where_a_segment_starts(streamed: bool) -> None:
    segments = Segments(8, create_mixer("retention", 8), length=4)
    x = torch.randn(1, 8, 8, requires_grad=True)
    y = segments.stream(x, segments.init_state(1))[0] if streamed else segments(x)
    y[:, 4:].sum().backward()
    assert x.grad is not None
    assert not x.grad[:, :4].any()
    assert x.grad[:, 4:].any()


def test_pieces_cut_each_sample_at_its_own_multiples() -> None:
    index = torch.tensor([[0, 1, 2, 3, 4], [3, 4, 5, 6, 7]])
    inputs = Inputs(None, index, index.float(), None, Call())
    cut = [(p.inputs.index.tolist(), p.inputs.mask.tolist(), p.starts.tolist()) for p in pieces(inputs, 4)]
    found = [
        [[i for i, real in zip(row, mask, strict=True) if real] for row, mask in zip(*both[:2], strict=True)]
        for both in cut
    ]
    assert found == [[[0, 1, 2, 3], [3]], [[4], [4, 5, 6, 7]]]
    assert [starts for _, _, starts in cut] == [[True, False], [True, True]]
