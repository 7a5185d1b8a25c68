"""The sentence token's vector, gated into what a stack puts out."""

from __future__ import annotations

import pytest
import torch

from anyformer import create_mixer
from anyformer.laws import check_mixer
from anyformer.models import create_model
from anyformer.wrappers.global_context import GlobalContextBlock


@pytest.mark.parametrize("causal", [True, False])
def test_laws(causal: bool) -> None:
    check_mixer(lambda: GlobalContextBlock(16, create_mixer("linear_attention", 16, causal=causal)))


def test_laws_of_a_short_sight() -> None:
    """The first token is seen from everywhere, whatever the inner mixer sees."""
    block = GlobalContextBlock(16, create_mixer("diag_attention", 16, block_len=3))
    assert block.info.reach == (None, 0)
    check_mixer(lambda: GlobalContextBlock(16, create_mixer("diag_attention", 16, block_len=3)))


def test_gates_left_open_and_shut_are_the_stack_alone() -> None:
    inner = create_mixer("attention", 8, causal=False).double()
    block, x = GlobalContextBlock(8, inner).double(), torch.randn(2, 9, 8, dtype=torch.float64)
    with torch.no_grad():
        for gate, value in ((block.context.own_gate, 50.0), (block.context.context_gate, -50.0)):
            gate.weight.zero_()
            gate.bias.fill_(value)
    torch.testing.assert_close(block(x), inner(x))


def test_in_a_spec() -> None:
    model = create_model("[global_context([attention*2])] dim=16 causal=false", vocab_size=7)
    assert model(torch.randint(7, (2, 5))).shape == (2, 5, 7)
