"""Identities of LongT5, and its study."""

from __future__ import annotations

import torch

from anyformer.laws.measures import close
from anyformer.mixers.sparse.transient_global import TransientGlobal
from anyformer_papers.identity import equals_encoder_decoder, identity, peer
from anyformer_papers.study import Study

study = Study(  # a fact found from beyond the window
    task="lookup",
    arms={
        "transient global": "[transient_global(window=5, block=2)]*2 causal=false positions=t5(bidirectional=true)",
        "local": "[attention(window=5)]*2 causal=false positions=t5(bidirectional=true)",
    },
    options={"length": 24},
    smallest=0.05,
    steps=1000,
    parameters=30_000,
)


@identity("transformers' LongT5, local and transient global, gated and not, padding included")
def equals_peer() -> None:
    hf = peer("transformers")
    for kind, forward in (("local", "gated-gelu"), ("transient-global", "gated-gelu"), ("local", "relu")):
        config = hf.LongT5Config(
            vocab_size=31,
            d_model=16,
            d_kv=6,
            d_ff=20,
            num_layers=3,
            num_heads=2,
            local_radius=3,
            global_block_size=4,
            feed_forward_proj=forward,
            encoder_attention_type=kind,
            relative_attention_num_buckets=8,
            relative_attention_max_distance=12,
        )
        equals_encoder_decoder(hf.LongT5ForConditionalGeneration(config), 23, 17)


@identity("dense attention with the sums as further keys, where the last of them holds what is left over")
def dense() -> None:
    T, k, w = 23, 4, 3
    mixer = TransientGlobal(16, window=w, block=k).double()
    x = torch.randn(2, T, 16, dtype=torch.float64)
    sums = torch.stack([x[:, m * k : (m + 1) * k if m < 4 else T].sum(1) for m in range(5)], 1)
    both = torch.cat([x, mixer.norm(sums)], 1)
    q, keys, v = (
        layer(t).unflatten(2, (4, 4)).transpose(1, 2)
        for layer, t in ((mixer.q, x), (mixer.k, both), (mixer.v, both))
    )
    i, j = torch.arange(T, dtype=torch.float64)[None], torch.arange(5, dtype=torch.float64)[None]
    near = mixer.near.score(q, keys, i, i).masked_fill((i[0, :, None] - i[0]).abs() >= w, -torch.inf)
    far = mixer.far.score(q, keys, (i // k).clamp_max(4), j)
    p = (q @ keys.mT / 2 + torch.cat([near, far], -1)).softmax(-1)
    close("y", mixer(x), mixer.out((p @ v).transpose(1, 2).flatten(2)))
