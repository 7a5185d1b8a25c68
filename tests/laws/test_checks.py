"""The checks of statements hold where they should, and each one fails on a planted fault."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from anyformer.contract import MixerInfo, Mixing
from anyformer.laws import LawBroken
from anyformer.laws.checks import (
    equal_with_gradients,
    from_heads,
    heads_of,
    in_pieces,
    inputs_of,
    mixes,
    no_leak,
    permutes,
    perturb,
    reduces_to,
    separate,
    streams,
)
from anyformer.laws.measures import close
from anyformer.mixers.pooling.pooling import Pooling
from anyformer.mixers.softmax.attention import Attention
from anyformer.mixers.softmax.fox import ForgettingAttention
from anyformer.models import create_model


def numbers(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64)


class Forgetful(Attention):
    """Its stream starts anew with every piece."""

    def stream(self, x: Tensor, state: object, **given: object) -> object:  # type: ignore[override]
        return super().stream(x, self.init_state(len(x)))


def test_streams() -> None:
    mixer, x = Attention(8, window=4, num_heads=2).double(), numbers(2, 11, 8)
    state = streams(mixer, x, 1, 3, [4, 0, 7])
    assert state["own"]["k"].shape[2] == 3, "the state of the last way"
    with pytest.raises(LawBroken, match=r"in pieces of 3: off by"):
        streams(Forgetful(8, num_heads=2).double(), x, 11, 3)
    with pytest.raises(LawBroken, match="in pieces of 1"):
        streams(Forgetful(8, num_heads=2).double(), x)


def test_in_pieces_goes_on_from_a_state() -> None:
    mixer, x = Attention(8, num_heads=2).double(), numbers(2, 11, 8)
    _, state = in_pieces(mixer, x[:, :5], 2)
    rest, _ = in_pieces(mixer, x[:, 5:], 1, state)
    torch.testing.assert_close(rest, mixer(x)[:, 5:])


def test_streams_of_models() -> None:
    streams(create_model("[attention]*2 dim=8", vocab_size=5).double().eval(), torch.randint(5, (2, 9)), 1, 4)


def test_mixes() -> None:
    class Wrong(Attention):
        def _mixing(self, x: Tensor, inputs: object) -> Mixing | None:  # type: ignore[override]
            found = super()._mixing(x, inputs)  # type: ignore[arg-type]
            assert found is not None
            return found._replace(matrix=2 * found.matrix)

    x = numbers(2, 9, 8)
    assert mixes(Attention(8, num_heads=2).double(), x).shape == (2, 2, 9, 9)
    with pytest.raises(LawBroken, match="the matrix times the values"):
        mixes(Wrong(8, num_heads=2).double(), x)


def test_reduces_to() -> None:
    x = numbers(2, 9, 8)
    plain, wide = Attention(8).double(), Attention(8, window=9).double()
    reduces_to(plain, wide, x)
    with pytest.raises(LawBroken, match="narrow: off by"):
        reduces_to(plain, Attention(8, window=2).double(), x, what="narrow")
    gated = ForgettingAttention(8).double()
    nn.init.zeros_(gated.forget.weight)
    gated.forget.bias.data.fill_(60.0)
    without = Attention(8, positions="none").double()
    reduces_to(gated, without, x, weights=separate(gated))
    with pytest.raises(RuntimeError, match="Missing key"):
        reduces_to(without, Attention(8, bias=True).double(), x)


def test_heads() -> None:
    x = numbers(2, 9, 8)
    mixer = Attention(8, num_heads=4, num_kv_heads=2, positions="none").double()
    q, k, v = heads_of(mixer, x)
    assert (q.shape, k.shape) == ((2, 4, 9, 2), (2, 2, 9, 2))
    y = scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
    close("attention", from_heads(mixer, y), mixer(x))
    one_map = ForgettingAttention(8, num_heads=2).double()
    for head, layer in zip(heads_of(one_map, x), one_map.qkv.weight.chunk(3), strict=True):
        close("qkv", head, (x @ layer.T).unflatten(2, (2, 4)).transpose(1, 2))


def test_equal_with_gradients() -> None:
    x = numbers(5).requires_grad_()
    equal_with_gradients("doubled", 2 * x, x + x, [x])
    with pytest.raises(LawBroken, match="doubled: off by"):
        equal_with_gradients("doubled", 2 * x, 3 * x, [x])
    with pytest.raises(LawBroken, match="gradient of input 0"):
        equal_with_gradients("detached", 2 * x, x + x.detach(), [x])


@pytest.mark.parametrize("x", [numbers(2, 9, 8), torch.randint(5, (2, 9))], ids=["numbers", "tokens"])
def test_no_leak(x: Tensor) -> None:
    def model(causal: bool) -> Callable[[Tensor], Tensor]:
        if x.is_floating_point():
            return Attention(8, causal=causal).double()
        return create_model("[attention] dim=8", vocab_size=5, causal=causal).double()

    no_leak(model(True), x, 4)
    with pytest.raises(LawBroken, match="before the change: off by"):
        no_leak(model(False), x, 4)


def test_permutes() -> None:
    permutes(Attention(8, positions="none", causal=False).double(), numbers(2, 9, 8))
    with pytest.raises(LawBroken, match="shuffled"):
        permutes(Attention(8, positions="rope", causal=False).double(), numbers(2, 9, 8))


def test_perturb() -> None:
    layer = nn.LayerNorm(4)
    perturb(layer, 0.1, lambda name: name == "bias")
    assert bool((layer.weight == 1).all()) and bool((layer.bias != 0).all())
    perturb(layer, 0.1)
    assert bool((layer.weight != 1).all())


def test_inputs_of() -> None:
    mixer, x = Pooling(8, window=3), torch.randn(2, 9, 8)
    assert isinstance(mixer.info, MixerInfo)
    torch.testing.assert_close(mixer._forward(x, inputs_of(x)), mixer(x))
