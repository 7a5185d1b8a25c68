"""Mamba of transformers, under the same weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from checkpoints import VOCAB, check_equal, check_generates, check_padded, randomised

from anyformer.convert import from_hf

transformers = pytest.importorskip("transformers")

CASES = {
    "usual": {},
    "untied_biases": {"tie_word_embeddings": False, "use_bias": True, "layer_norm_epsilon": 1e-2},
    "other_sizes": {"expand": 3, "conv_kernel": 2, "time_step_rank": 5, "state_size": 1},
    "no_conv_bias": {"use_conv_bias": False},
}


def mamba(**changes: Any) -> Any:
    sizes = {"vocab_size": VOCAB, "hidden_size": 32, "state_size": 7, "num_hidden_layers": 3}
    return randomised(transformers.MambaForCausalLM(transformers.MambaConfig(**{**sizes, **changes})))


@pytest.mark.parametrize("case", CASES)
def test_mamba(case: str, tmp_path: Path) -> None:
    check_equal(mamba(**CASES[case]), tmp_path)


@pytest.mark.parametrize("side", ["left", "right"])
def test_padded(side: str) -> None:
    # with use_bias the peer's convolution would see the bias of the padding on the left
    peer = mamba()
    check_padded(peer, from_hf(peer), side)


def test_generates(tmp_path: Path) -> None:
    peer = mamba(tie_word_embeddings=False)  # tied, random weights repeat a token
    check_generates(peer, check_equal(peer, tmp_path / "theirs"), tmp_path / "ours")
