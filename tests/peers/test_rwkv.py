"""RWKV-4 of transformers, under the same weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from checkpoints import VOCAB, check_equal, check_generates, logits_of, randomised, tokens
from torch.testing import assert_close

from anyformer.convert import from_hf

transformers = pytest.importorskip("transformers")

CASES = {
    "usual": {},
    "other_widths": {"attention_hidden_size": 24, "intermediate_size": 40},
    "tied": {"tie_word_embeddings": True},
}


def rwkv(**changes: Any) -> Any:
    sizes = {"vocab_size": VOCAB, "hidden_size": 32, "num_hidden_layers": 3, "rescale_every": 0}
    return randomised(transformers.RwkvForCausalLM(transformers.RwkvConfig(**{**sizes, **changes})))


@pytest.mark.parametrize("case", CASES)
def test_rwkv(case: str, tmp_path: Path) -> None:
    check_equal(rwkv(**CASES[case]), tmp_path)


def test_generates(tmp_path: Path) -> None:
    peer = rwkv()
    check_generates(peer, check_equal(peer, tmp_path / "theirs"), tmp_path / "ours")


def test_rescaled() -> None:
    """A peer that has run in evaluation has halved weights in place; what it computes is as before."""
    peer = rwkv(rescale_every=1)
    x = tokens()
    before = from_hf(peer).state_dict()
    halved = logits_of(peer, x)
    model = from_hf(peer)
    for name, weight in model.state_dict().items():
        assert weight.equal(before[name]), name
    expected = logits_of(peer.train(), x)  # in training the peer undoes it
    with torch.no_grad():
        assert_close(model(x), expected, atol=1e-5, rtol=0)
    # but for the norms' epsilon, the halved stream gives the same
    assert_close(halved, expected, atol=1e-2, rtol=0)


def test_other_epsilon() -> None:
    with pytest.raises(ValueError, match="layer_norm_epsilon of a 'rwkv' checkpoint must be 1e-05, got 0.01"):
        from_hf(rwkv(layer_norm_epsilon=1e-2))
