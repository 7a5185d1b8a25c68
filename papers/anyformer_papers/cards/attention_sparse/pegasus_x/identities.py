"""Identities of PEGASUS-X, and its study."""

from __future__ import annotations

import torch

from anyformer.models import create_model
from anyformer_papers.identity import equals_encoder_decoder, identity, peer
from anyformer_papers.study import Study

study = Study(  # what a second layer gains when its borders are not those of the first
    task="lookup",
    arms={
        "staggered": "[block_attention(block=8), block_attention(block=8, stagger=true)] causal=false",
        "aligned": "[block_attention(block=8), block_attention(block=8, stagger=false)] causal=false",
    },
    options={"length": 24},
    smallest=0.03,
    steps=1000,
    parameters=30_000,
)


@identity("transformers' PEGASUS-X, at lengths that blocks divide and do not, padding included")
def equals_peer() -> None:
    hf = peer("transformers")
    config = hf.PegasusXConfig(
        vocab_size=31,
        d_model=16,
        encoder_layers=3,
        decoder_layers=2,
        encoder_attention_heads=2,
        decoder_attention_heads=4,
        encoder_ffn_dim=20,
        decoder_ffn_dim=24,
        block_size=6,
        num_global_tokens=3,
    )
    for length in (18, 23):
        equals_encoder_decoder(hf.PegasusXForConditionalGeneration(config), length, 14)


@identity(
    "without globals, what is changed in a block stays in it; with staggering it goes on half a block a layer"
)
def spreads() -> None:
    tokens = torch.randint(9, (1, 48))
    other = tokens.clone()
    other[:, 16:24] = (other[:, 16:24] + 1) % 9  # the third of six blocks
    for stagger, reached in ((False, (16, 24)), (True, (12, 28))):
        layers = f"[block_attention(block=8), block_attention(block=8, stagger={str(stagger).lower()})]"
        spec = f"{layers} dim=16 causal=false"
        model = create_model(spec, vocab_size=9).double()
        changed = (model(tokens) != model(other)).any(-1)[0].nonzero().flatten()
        assert (int(changed.min()), int(changed.max()) + 1) == reached, (stagger, changed)
