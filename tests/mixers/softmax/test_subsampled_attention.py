from __future__ import annotations

from typing import Any

import pytest
import torch

from anyformer.contract import Call
from anyformer.mixers import create_mixer
from anyformer.mixers.softmax.subsampled_attention import SubsampledAttention


def drawn(mixer: SubsampledAttention, T: int, seed: int) -> torch.Tensor:
    """(T, T) bool: which keys one draw lets each query see, by what changes when a key's value does."""
    seen = torch.zeros(T, T, dtype=torch.bool)
    x = torch.randn(1, T, 16, dtype=torch.float64)
    call = {"side": {"pathway": torch.tensor([seed])}}
    y = mixer(x, call=Call(**call))
    for j in range(T):
        other = x.clone()
        other[:, j] = torch.randn(16, dtype=torch.float64)
        seen[:, j] = (mixer(other, call=Call(**call)) != y).any(-1)[0]
    return seen & ~torch.eye(T, dtype=torch.bool)  # a token's own query changes with it


@pytest.mark.parametrize("causal", [True, False])
def test_all_queries_see_the_same_keys_causally_the_earlier_of_them(causal: bool) -> None:
    mixer = create_mixer("subsampled_attention", 16, keep=0.3, causal=causal).double().eval()
    first, second = drawn(mixer, 20, 1), drawn(mixer, 20, 2)
    for seen in (first, second):
        keys = seen.any(0)
        assert 4 <= int(keys.sum()) <= 6
        expected = keys.expand(20, 20) & ~torch.eye(20, dtype=torch.bool)
        assert torch.equal(seen, expected.tril() if causal else expected)
    assert not torch.equal(first, second)


def test_windows_have_borders_that_are_drawn() -> None:
    mixer = create_mixer("subsampled_attention", 16, local_window=6, causal=False).double().eval()
    starts = set()
    for seed in range(12):
        seen = drawn(mixer, 20, seed) | torch.eye(20, dtype=torch.bool)
        first = seen.int().argmax(1)
        assert torch.equal(seen, first[:, None] == first)  # blocks
        starts.add(int(first.unique()[1]))
    assert len(starts) > 2 and max(starts) <= 6


def test_a_sequence_draws_a_share_of_its_own_length() -> None:
    mixer = create_mixer("subsampled_attention", 16, keep=0.25, causal=False)
    number = torch.arange(20).expand(2, 20).clone()
    number[1, 6:] = -1
    slots, counts = mixer._sample(number, torch.Generator())
    assert counts.sum(1).tolist() == [5, 2] and bool((slots[1, :2] < 6).all())


def test_training_ends_with_all_keys() -> None:
    mixer = create_mixer("subsampled_attention", 16, keep=0.25, dense_share=0.2)
    x = torch.randn(1, 20, 16)
    assert not torch.equal(mixer.train()(x), mixer(x))
    mixer.after_step({}, 0.79)
    assert not torch.equal(mixer(x), mixer(x))
    mixer.after_step({}, 0.8)
    torch.testing.assert_close(mixer(x), mixer.eval()(x))


def test_layers_draw_apart() -> None:
    first, second = (create_mixer("subsampled_attention", 16, keep=0.5).eval() for _ in range(2))
    second.load_state_dict(first.state_dict())
    x, call = torch.randn(1, 30, 16), Call(side={"pathway": torch.tensor([7])})
    y = first(x, call=call)
    assert not torch.equal(second(x, call=call), y)  # the second layer of this call
    assert torch.equal(second(x, call=Call(side=call.side)), y)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"keep": 0.0}, "keep must be above 0 and at most 1, dense_share from 0 to 1; got 0.0 and 0.1"),
        ({"local_window": 1}, "local_window must be at least 2, got 1"),
        ({"positions": "alibi"}, "positions='alibi' do not go with subsampled_attention"),
    ],
)
def test_errors(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        create_mixer("subsampled_attention", 16, **options)
