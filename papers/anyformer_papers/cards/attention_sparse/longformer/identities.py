"""Identities of Longformer and LED, and its study."""

from __future__ import annotations

import torch

from anyformer.contract import Call
from anyformer.convert import from_hf
from anyformer.laws.checks import from_heads, heads_of, perturb
from anyformer.laws.measures import close
from anyformer.mixers.sparse.longformer import Longformer
from anyformer.ops.attention import attention
from anyformer_papers.identity import identity, peer
from anyformer_papers.study import Study

study = Study(  # the tokens that questions are about are global, or are not
    task="recall",
    arms={
        "global pairs": "[longformer(window=4, num_global=8)]*2",
        "window alone": "[longformer(window=4, num_global=0)]*2",
    },
    options={"length": 24, "num_pairs": 4, "vocab_size": 16},
    smallest=0.1,
    steps=1000,
    parameters=30_000,
    batch_size=16,
)


@identity("transformers' LED, padding and global tokens included")
def equals_led() -> None:
    hf = peer("transformers")
    config = hf.LEDConfig(
        vocab_size=31,
        d_model=16,
        encoder_layers=3,
        decoder_layers=2,
        encoder_attention_heads=2,
        decoder_attention_heads=4,
        encoder_ffn_dim=20,
        decoder_ffn_dim=24,
        attention_window=[4, 6, 4],
        max_encoder_position_embeddings=64,
        max_decoder_position_embeddings=32,
    )
    theirs = hf.LEDForConditionalGeneration(config).eval()
    perturb(theirs, 0.1)
    theirs.final_logits_bias.normal_(0.0, 0.1)
    ours = from_hf(theirs)
    source, target = torch.randint(3, 31, (2, 24)), torch.randint(3, 31, (2, 7))
    mask, marks = torch.ones(2, 24, dtype=torch.int64), torch.zeros(2, 24, dtype=torch.int64)
    mask[1, 17:], marks[0, [0, 11]], marks[1, 3] = 0, 1, 1
    for given in (None, marks):
        call = Call(side={} if given is None else {"global_tokens": given.bool()})
        y = ours(source, target, mask.bool(), source_call=call)
        expected = theirs(source, mask, target, global_attention_mask=given).logits
        close("logits", y, expected, 1e-5)


@identity("the self-attention of transformers' Longformer")
def equals_longformer() -> None:
    hf, longformer = peer("transformers"), peer("transformers.models.longformer.modeling_longformer")
    config = hf.LongformerConfig(hidden_size=16, num_attention_heads=4, attention_window=[6])
    theirs = longformer.LongformerSelfAttention(config, 0).eval()
    ours = Longformer(16, window=4, num_global=0, positions="none", causal=False, bias=True)
    for name, layer in (("", ours.qkv), ("_global", ours.global_qkv)):
        maps = [getattr(theirs, part + name) for part in ("query", "key", "value")]
        layer.weight.data = torch.cat([m.weight for m in maps])
        layer.bias.data = torch.cat([m.bias for m in maps])
    x, marks = torch.randn(2, 24, 16), torch.zeros(2, 24, dtype=torch.bool)
    marks[0, [0, 11]], marks[1, 3] = True, True
    call = Call(side={"global_tokens": marks})
    y = theirs(x, marks * 1e4, torch.zeros_like(marks), marks, is_global_attn=True)[0]
    close("y", ours(x, call=call), ours.out(y), 1e-5)


@identity("a window as wide as the sequence, and global projections that are the local ones: full attention")
def whole() -> None:
    mixer = Longformer(16, window=30, num_global=2, positions="none", causal=False).double()
    mixer.global_qkv.load_state_dict(mixer.qkv.state_dict())
    x = torch.randn(2, 30, 16, dtype=torch.float64)
    close("y", mixer(x), from_heads(mixer, attention(*heads_of(mixer, x))))
