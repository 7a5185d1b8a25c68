"""Transient global attention where there is no whole block."""

from __future__ import annotations

import pytest
import torch
from patterns import T

from anyformer.mixers import create_mixer


def test_transient_global_without_a_whole_block_is_local() -> None:
    """Nothing to sum: what is left is attention in a window with T5's biases, unless masked tokens count."""
    mixer = create_mixer("transient_global", 16, window=3, block=T, causal=False).double()
    biased = {"name": "t5", "bidirectional": True}
    local = create_mixer("attention", 16, window=3, causal=False, positions=biased).double()
    weights = {k.replace("near.", "positions."): v for k, v in mixer.state_dict().items()}
    local.load_state_dict(weights, strict=False)
    x, mask = torch.randn(2, T, 16, dtype=torch.float64), torch.ones(2, T, dtype=torch.bool)
    mask[1, 3] = False
    y = mixer(x, mask=mask)
    torch.testing.assert_close(y[1], local(x, mask=mask)[1])
    assert not torch.allclose(y[0], local(x)[0])
    with pytest.raises(ValueError, match="causal=True is not possible for transient_global"):
        create_mixer("transient_global", 16, causal=True)
