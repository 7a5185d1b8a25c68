from __future__ import annotations

import pytest
import torch
from torch.nn.functional import conv1d, pad, silu

from anyformer.layers.conv import ShortConv, token_shift


@pytest.fixture
def conv() -> ShortConv:
    return ShortConv(3, 4).double()


def test_it_is_a_depthwise_convolution(conv):
    x = torch.randn(2, 9, 3, dtype=torch.float64)
    expected = conv1d(pad(x.mT, (3, 0)), conv.weight[:, None], conv.bias, groups=3).mT
    torch.testing.assert_close(conv(x)[0], expected)


@pytest.mark.parametrize("cuts", [[0, 1, 2, 6], [1] * 9, [9], [4, 5]])
def test_pieces_are_the_whole(conv, cuts):
    x = torch.randn(2, 9, 3, dtype=torch.float64)
    whole, final = conv(x)
    state, pieces = conv.init_state(2, torch.device("cpu"), torch.float64), []
    for piece in x.split(cuts, 1):
        y, state = conv(piece, state)
        pieces.append(y)
    torch.testing.assert_close(torch.cat(pieces, 1), whole)
    assert torch.equal(state, final)


def test_the_state_holds_the_last_real_inputs(conv):
    x = torch.randn(3, 5, 3, dtype=torch.float64)
    past = torch.randn(3, 3, 3, dtype=torch.float64)
    mask = torch.tensor([[True] * 5, [True] * 2 + [False] * 3, [False] * 5])
    _, state = conv(x, past, mask)
    assert torch.equal(state[0], x[0, 2:])
    assert torch.equal(state[1], torch.cat((past[1, 2:], x[1, :2])))
    assert torch.equal(state[2], past[2])


@pytest.mark.parametrize("T", [0, 1, 2, 3, 9])
def test_masked_states_of_every_length(conv, T):
    x, past = torch.randn(4, T, 3, dtype=torch.float64), torch.randn(4, 3, 3, dtype=torch.float64)
    lengths = torch.tensor([0, 1, T // 2, T]).clamp_max(T)
    _, state = conv(x, past, torch.arange(T) < lengths[:, None])
    for sample, length in enumerate(lengths):
        assert torch.equal(state[sample], torch.cat((past[sample], x[sample, :length]))[-3:])


def test_the_state_is_small(conv):
    """A state that is a view would keep all the inputs in memory."""
    _, state = conv(torch.randn(1, 500, 3, dtype=torch.float64))
    assert state.untyped_storage().nbytes() == state.numel() * state.element_size()


def test_activation(conv):
    x = torch.randn(2, 9, 3, dtype=torch.float64)
    active = ShortConv(3, 4, activation="silu").double()
    active.load_state_dict(conv.state_dict())
    torch.testing.assert_close(active(x)[0], silu(conv(x)[0]))


def test_width_one_and_no_bias():
    conv = ShortConv(3, 1, bias=False)
    x = torch.randn(2, 4, 3)
    y, state = conv(x)
    torch.testing.assert_close(y, x * conv.weight[:, 0])
    assert state.shape == (2, 0, 3)


def test_token_shift():
    x = torch.arange(1.0, 7).reshape(1, 6, 1)
    shifted, last = token_shift(x, None)
    assert shifted.flatten().tolist() == [0, 1, 2, 3, 4, 5] and last.item() == 6
    mask = torch.tensor([[True] * 2 + [False] * 4])
    _, last = token_shift(x, torch.full((1, 1, 1), 9.0), mask)
    assert last.item() == 2


def test_errors():
    with pytest.raises(ValueError, match="width must be at least 1"):
        ShortConv(3, 0)
    with pytest.raises(ValueError, match="activation must be 'silu' or None, got 'gelu'"):
        ShortConv(3, 4, activation="gelu")


def test_heads_share_their_taps() -> None:
    conv, plain = ShortConv(6, 3, heads=2), ShortConv(6, 3)
    with torch.no_grad():
        plain.weight.copy_(torch.cat([conv.weight] * 2))
        plain.bias.copy_(torch.cat([conv.bias] * 2))
    x = torch.randn(2, 5, 6)
    torch.testing.assert_close(conv(x)[0], plain(x)[0])
    with pytest.raises(ValueError, match="heads must divide dim=6, got 4"):
        ShortConv(6, 3, heads=4)
