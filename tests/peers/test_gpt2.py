"""GPT-2 of transformers, under the same weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from checkpoints import VOCAB, check_equal, check_generates, check_padded, randomised

from anyformer.convert import from_hf

transformers = pytest.importorskip("transformers")

CASES = {
    "usual": {},
    "untied": {"tie_word_embeddings": False, "layer_norm_epsilon": 1e-2},
    "relu": {"activation_function": "relu", "n_inner": 40},
    "exact_gelu": {"activation_function": "gelu"},
    "scaled_by_layer": {"scale_attn_by_inverse_layer_idx": True},
    "unscaled": {"scale_attn_weights": False},
}


def gpt2(**changes: Any) -> Any:
    sizes = {"vocab_size": VOCAB, "n_embd": 32, "n_layer": 3, "n_head": 4, "n_positions": 24}
    config = transformers.GPT2Config(**sizes, bos_token_id=0, eos_token_id=0, **changes)
    return randomised(transformers.GPT2LMHeadModel(config))


@pytest.mark.parametrize("case", CASES)
def test_gpt2(case: str, tmp_path: Path) -> None:
    check_equal(gpt2(**CASES[case]), tmp_path)


def test_float64(tmp_path: Path) -> None:
    check_equal(gpt2().double(), tmp_path, tolerance=1e-12)


@pytest.mark.parametrize("side", ["left", "right"])
def test_padded(side: str) -> None:
    peer = gpt2()
    check_padded(peer, from_hf(peer), side, positions=True)


def test_generates(tmp_path: Path) -> None:
    peer = gpt2(tie_word_embeddings=False)  # tied, random weights repeat a token
    check_generates(peer, check_equal(peer, tmp_path / "theirs"), tmp_path / "ours")


def test_body_without_head(tmp_path: Path) -> None:
    """The first GPT-2 checkpoints hold the body alone, its keys without a prefix."""
    peer = gpt2()
    peer.transformer.save_pretrained(tmp_path / "body")
    body = from_hf(tmp_path / "body").state_dict()
    whole = from_hf(peer).state_dict()
    assert all(body[name].equal(whole[name]) for name in whole)


def test_cross_attention() -> None:
    with pytest.raises(
        ValueError, match="add_cross_attention of a 'gpt2' checkpoint must be False, got True"
    ):
        from_hf(gpt2(add_cross_attention=True))
