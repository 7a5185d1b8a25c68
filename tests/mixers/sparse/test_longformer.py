from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from anyformer.contract import Call, Mixer
from anyformer.mixers import create_mixer
from anyformer.state import state_bytes

T = 23
MARKS = torch.zeros(2, T, dtype=torch.bool)
MARKS[0, [4, 17]] = True


def call() -> Call:
    return Call(side={"global_tokens": MARKS})


def attend(mixer: Mixer, projection: torch.nn.Module, x: Tensor, visible: Tensor) -> Tensor:
    B, length, D = x.shape
    q, k, v = (t.reshape(B, length, 4, -1).transpose(1, 2) for t in projection(x).chunk(3, -1))
    scores = (q @ k.transpose(2, 3) / q.shape[3] ** 0.5).masked_fill(~visible[:, None], -torch.inf)
    return (scores.softmax(-1) @ v).transpose(1, 2).flatten(2)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("num_global", [0, 1, 3])
def test_is_the_dense_formula(causal: bool, num_global: int) -> None:
    mixer = create_mixer(
        "longformer", 16, window=4, num_global=num_global, causal=causal, positions="none"
    ).double()
    x = torch.randn(2, T, 16, dtype=torch.float64)
    i, j = torch.arange(T)[:, None], torch.arange(T)
    is_global = MARKS | (j < num_global)
    visible = ((i - j).abs() < 4) | is_global[:, None]
    if causal:
        expected = attend(mixer, mixer.qkv, x, visible & (j <= i))
    else:
        everywhere = torch.ones_like(visible)
        expected = torch.where(
            is_global[..., None],
            attend(mixer, mixer.global_qkv, x, everywhere),
            attend(mixer, mixer.qkv, x, visible),
        )
    torch.testing.assert_close(mixer(x, call=call()), mixer.out(expected))


@pytest.mark.parametrize("positions", ["rope", "alibi"])
def test_a_wide_window_is_full_attention(positions: str) -> None:
    mixer = create_mixer("longformer", 16, window=T, positions=positions).double()
    plain = create_mixer("attention", 16, positions=positions).double()
    plain.out.load_state_dict(mixer.out.state_dict())
    for part, weight in zip((plain.q, plain.k, plain.v), mixer.qkv.weight.detach().chunk(3)):
        part.weight = torch.nn.Parameter(weight.clone())
    x, places = torch.randn(2, T, 16, dtype=torch.float64), torch.randn(2, T, dtype=torch.float64) * 5
    torch.testing.assert_close(mixer(x, positions=places), plain(x, positions=places))


@pytest.mark.parametrize("pieces", [[1] * T, [5, 0, 11, 7], [T]])
def test_streams_with_global_tokens(pieces: list[int]) -> None:
    mixer = create_mixer("longformer", 16, window=4, num_global=2, max_global=4).double()
    x = torch.randn(2, T, 16, dtype=torch.float64)
    mask = torch.rand(2, T) > 0.3
    mask[0, 4] = True
    state, parts, start = mixer.init_state(2), [], 0
    for size in pieces:
        at = slice(start, start + size)
        side = Call(side={"global_tokens": MARKS[:, at]})
        y, state = mixer.stream(x[:, at], state, mask=mask[:, at], call=side)
        parts.append(y)
        start += size
    torch.testing.assert_close(torch.cat(parts, 1), mixer(x, mask=mask, call=call()), rtol=1e-10, atol=1e-10)
    assert state["own"]["k"].shape[2] <= 3 + 4


def test_state_is_bounded() -> None:
    mixer = create_mixer("longformer", 16, window=4)
    sizes = [state_bytes(mixer.stream(torch.randn(1, n, 16), mixer.init_state(1))[1]) for n in (50, 500)]
    assert sizes[0] == sizes[1]


def test_equals_transformers() -> None:
    """With the library's own projections (theirs without biases), windows of w / 2 to each side and padding."""
    module = pytest.importorskip("transformers.models.longformer.modeling_longformer")
    config = pytest.importorskip("transformers").LongformerConfig(
        hidden_size=16,
        num_attention_heads=4,
        attention_window=[6],
        num_hidden_layers=1,
        attention_probs_dropout_prob=0.0,
    )
    peer = module.LongformerSelfAttention(config, layer_id=0).double().eval()
    mixer = create_mixer("longformer", 16, window=4, num_global=1, causal=False, positions="none").double()
    for name, weight in (("", mixer.qkv.weight), ("_global", mixer.global_qkv.weight)):
        for part, rows in zip(("query", "key", "value"), weight.detach().chunk(3)):
            linear = getattr(peer, part + name)
            linear.weight.data, linear.bias.data = rows.clone(), torch.zeros_like(linear.bias)
    length = 24  # a multiple of the window, as the peer needs
    x = torch.randn(2, length, 16, dtype=torch.float64)
    padded = torch.arange(length) >= torch.tensor([[24], [19]])
    marked = torch.zeros(2, length, dtype=torch.bool)
    marked[0, [5, 20]], marked[1, 9] = True, True
    is_global = marked | (torch.arange(length) == 0)
    # the peer's codes: negative = padding, positive = global; its mask comes as such numbers
    codes = torch.where(padded, -10000.0, torch.where(is_global, 10000.0, 0.0)).double()
    theirs = peer(
        x,
        attention_mask=codes,
        is_index_masked=codes < 0,
        is_index_global_attn=codes > 0,
        is_global_attn=True,
    )[0]
    ours = mixer(x, mask=~padded, call=Call(side={"global_tokens": marked}))
    torch.testing.assert_close(ours[~padded], mixer.out(theirs)[~padded], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"window": 0}, "window must be at least 1, got 0"),
        ({"num_global": 3, "max_global": 2}, "num_global must be between 0 and max_global"),
        ({"num_global": 0, "max_global": 0}, "num_global must be between 0 and max_global"),
    ],
)
def test_errors(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        create_mixer("longformer", 16, **options)


def test_wrong_global_tokens() -> None:
    mixer = create_mixer("longformer", 16, max_global=2)
    x = torch.randn(2, T, 16)
    for side, message in (
        (MARKS.float(), "global_tokens must be bool, got torch.float32"),
        (MARKS[:, :5], r"call.side\['global_tokens'\] must be a tensor of shape \(2, 23\), got \(2, 5\)"),
        (MARKS | True, "global_tokens must mark at most 2 tokens of a sequence"),
    ):
        with pytest.raises(ValueError, match=message):
            mixer(x, call=Call(side={"global_tokens": side}))
    with pytest.raises(ValueError, match="global_tokens must mark at most 2 tokens"):
        mixer.stream(x, mixer.init_state(2), call=Call(side={"global_tokens": MARKS}))
