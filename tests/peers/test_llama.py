"""Llama and Mistral of transformers, under the same weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from checkpoints import VOCAB, check_equal, check_generates, check_padded, logits_of, randomised, tokens

from anyformer.convert import from_hf

transformers = pytest.importorskip("transformers")

LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 50.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}
CASES = {
    "grouped": {},
    "multi_head": {"num_key_value_heads": 4, "rms_norm_eps": 1e-2},
    "multi_query_biases": {
        "num_key_value_heads": 1,
        "attention_bias": True,
        "mlp_bias": True,
        "head_dim": 12,
    },
    "tied_other_base": {
        "tie_word_embeddings": True,
        "rope_parameters": {"rope_type": "default", "rope_theta": 1e2},
    },
    "linear_scaling": {"rope_parameters": {"rope_type": "linear", "rope_theta": 10.0, "factor": 4.0}},
    "llama3_scaling": {"rope_parameters": LLAMA3},
}
SIZES = {
    "vocab_size": VOCAB,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
}


def llama(**changes: Any) -> Any:
    config = transformers.LlamaConfig(**{**SIZES, "num_key_value_heads": 2, **changes})
    return randomised(transformers.LlamaForCausalLM(config))


def mistral(**changes: Any) -> Any:
    config = transformers.MistralConfig(**{**SIZES, "num_key_value_heads": 2, "sliding_window": 4, **changes})
    return randomised(transformers.MistralForCausalLM(config))


@pytest.mark.parametrize("case", CASES)
def test_llama(case: str, tmp_path: Path) -> None:
    check_equal(llama(**CASES[case]), tmp_path)


@pytest.mark.parametrize("window", [1, 4, None])
def test_mistral(window: int | None, tmp_path: Path) -> None:
    check_equal(mistral(sliding_window=window), tmp_path)


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("make", [llama, mistral])
def test_padded(make: Any, side: str) -> None:
    peer = make()
    check_padded(peer, from_hf(peer), side)


def test_generates(tmp_path: Path) -> None:
    peer = llama()
    check_generates(peer, check_equal(peer, tmp_path / "theirs"), tmp_path / "ours")


def test_float64() -> None:
    # the peer's norms and rotations stay in float32
    peer = llama().double()
    difference = from_hf(peer)(tokens()) - logits_of(peer, tokens())
    assert difference.abs().max() < 1e-6


def test_unsupported_scaling() -> None:
    scaling = {"rope_type": "yarn", "rope_theta": 1e4, "factor": 4.0, "original_max_position_embeddings": 16}
    with pytest.raises(ValueError, match="rope_type must be 'default', 'linear' or 'llama3', got 'yarn'"):
        from_hf(llama(rope_parameters=scaling))
