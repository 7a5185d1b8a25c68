"""Mamba-2 of transformers, under the same weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from checkpoints import VOCAB, check_equal, check_generates, check_padded, randomised

from anyformer.convert import from_hf

transformers = pytest.importorskip("transformers")

CASES = {
    "usual": {},
    "tied_biases": {"tie_word_embeddings": True, "use_bias": True, "layer_norm_epsilon": 1e-2},
    "groups": {"n_groups": 2, "num_heads": 4, "head_dim": 16, "state_size": 5},
    "no_conv_bias": {"use_conv_bias": False, "conv_kernel": 2},
}


def mamba2(**changes: Any) -> Any:
    sizes = {
        "vocab_size": VOCAB,
        "hidden_size": 32,
        "state_size": 7,
        "num_hidden_layers": 3,
        "num_heads": 8,
        "head_dim": 8,
        "n_groups": 1,
        "chunk_size": 8,
    }
    return randomised(transformers.Mamba2ForCausalLM(transformers.Mamba2Config(**{**sizes, **changes})))


@pytest.mark.parametrize("case", CASES)
def test_mamba2(case: str, tmp_path: Path) -> None:
    check_equal(mamba2(**CASES[case]), tmp_path)


@pytest.mark.parametrize("side", ["left", "right"])
def test_padded(side: str) -> None:
    peer = mamba2()
    check_padded(peer, from_hf(peer), side)


def test_generates(tmp_path: Path) -> None:
    peer = mamba2()
    check_generates(peer, check_equal(peer, tmp_path / "theirs"), tmp_path / "ours")


def test_limited_steps_are_refused() -> None:
    with pytest.raises(ValueError, match="time_step_limit of a 'mamba2' checkpoint must be"):
        from_hf(mamba2(time_step_limit=(0.01, 0.5)))
