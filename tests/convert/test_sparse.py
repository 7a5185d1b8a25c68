"""Dense attention converted to attention that reads fewer keys."""

from __future__ import annotations

import pytest
import torch

from anyformer.convert import keep_best_keys, local_sparse_global
from anyformer.mixers.sparse.lsg_attention import SELECTIONS
from anyformer.models import create_model


def test_a_trained_model_keeps_its_weights_and_with_all_keys_its_outputs() -> None:
    model = create_model("[attention(qk_norm=true), mamba] dim=16", vocab_size=7).double().eval()
    x = torch.randint(7, (2, 15))
    torch.testing.assert_close(keep_best_keys(model, 15)(x), model(x))
    assert not torch.allclose(keep_best_keys(model, 2)(x), model(x))


def test_a_model_without_attention_is_refused() -> None:
    with pytest.raises(ValueError, match="model must have layers of attention"):
        keep_best_keys(create_model("[mamba] dim=16", vocab_size=7), 3)


def test_a_converted_encoder_keeps_its_outputs_up_to_two_blocks() -> None:
    spec = "[attention(bias=true)]*2 dim=16 causal=false positions=learned(max_length=16) channel=mlp"
    model = create_model(spec, vocab_size=9, num_outputs=3, pool="mean").double().eval()
    short, long = torch.randint(9, (2, 13)), torch.randint(9, (2, 40))
    for selection in SELECTIONS:
        new = local_sparse_global(model, block=6, sparsity=3, selection=selection, max_length=40)
        torch.testing.assert_close(new(short), model(short))
        assert new(long).shape == (2, 3)
    table = new.body.embed.weight
    torch.testing.assert_close(table[16:32], table[:16])


def test_only_encoders_of_plain_attention_are_converted() -> None:
    with pytest.raises(ValueError, match="model must be bidirectional, got causal=True"):
        local_sparse_global(create_model("[attention] dim=16", vocab_size=9))
    with pytest.raises(ValueError, match="qk_norm"):
        local_sparse_global(create_model("[attention(qk_norm=true)] dim=16 causal=false", vocab_size=9))
    with pytest.raises(ValueError, match="max_length is for learned positions, got 'rope'"):
        local_sparse_global(create_model("[attention] dim=16 causal=false", vocab_size=9), max_length=9)
