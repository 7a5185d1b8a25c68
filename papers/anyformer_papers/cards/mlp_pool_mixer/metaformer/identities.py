"""Identities of MetaFormer and PoolFormer, and its study."""

from __future__ import annotations

import torch

from anyformer.laws.measures import close
from anyformer.mixers import create_mixer
from anyformer.models import load_spec
from anyformer.models.build import Backbone
from anyformer_papers.identity import identity, peer
from anyformer_papers.study import Study

study = Study(
    task="digits",
    arms={
        "pooling": "[pooling]*2 channel=mlp norm=layer_norm causal=false positions=learned(max_length=64)",
        "attention": "[attention]*2 channel=mlp norm=layer_norm causal=false positions=learned(max_length=64)",
    },
    smallest=0.02,
    expect="no worse",
    options={"canvas": 12},
    steps=1000,
    parameters=30_000,
)


@identity("on one axis the mixer is PoolFormer's of transformers on an image of height 1")
def equals_transformers() -> None:
    theirs = peer("transformers.models.poolformer.modeling_poolformer").PoolFormerPooling(3)
    x = torch.randn(2, 11, 6)
    image = x.transpose(1, 2)[:, :, None]
    ours = create_mixer("pooling", 6, causal=False)
    close("pooling", ours(x), theirs(image)[:, :, 0].transpose(1, 2), 1e-6)


@identity("an input that is the same everywhere gives exactly zero, at the ends too")
def constant() -> None:
    x = torch.randn(1, 1, 8, dtype=torch.float64).expand(2, 20, 8)
    for window in (3, 7):
        close("zero", create_mixer("pooling", 8, window=window, causal=False)(x), torch.zeros_like(x), 1e-14)


@identity(
    "whatever the mixer, the same block around it: two sublayers a layer, and the mixer's reach is the model's"
)
def any_mixer() -> None:
    for mixer, reach in (("pooling", 2), ("attention", None), ("mlp", 0)):
        body = Backbone(load_spec(f"[{mixer}]*2 channel=mlp dim=16 causal=false"))
        assert len(body.stack.mixers) == 4 and len(body.stack.residual.norms) == 4
        assert body.info.reach == (reach, reach)
