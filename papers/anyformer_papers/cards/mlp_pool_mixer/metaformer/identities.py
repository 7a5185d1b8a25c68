"""MetaFormer and PoolFormer."""

from __future__ import annotations

import torch

from anyformer.mixers import create_mixer
from anyformer.models.build import Backbone
from anyformer.models.spec import load_spec
from anyformer.testing.measures import close
from anyformer_papers.card import Card, peer
from anyformer_papers.study import Study

card = Card(
    slug="metaformer",
    what="The block (norm, token mixer, residual; norm, channel MLP, residual) is what matters, and any "
    "mixer may fill it: average pooling over neighbours, without a parameter, does well.",
    parts=("mixer pooling", "model pool_former"),
    differs="y_t = mean(x_{t-1}, x_t, x_{t+1}) - x_t, where attention weighs all tokens by their content. "
    "The token is taken off because the residual adds it.",
    followed="paper",
    notes="Sequences here have one axis: 3 neighbours instead of 3 x 3, and one stage instead of the "
    "paper's pyramid of four. The norm is LayerNorm for each token instead of one group norm over the whole "
    "image.",
    claim="A mixer that only averages neighbours is enough, where the rest of the block is as it was: "
    "PoolFormer reaches 82.1% on ImageNet, 0.3 points above DeiT-B with 35% fewer parameters.",
    study=Study(
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
    ),
)


@card.exact("on one axis the mixer is PoolFormer's of transformers on an image of height 1")
def equals_transformers() -> None:
    theirs = peer("transformers.models.poolformer.modeling_poolformer").PoolFormerPooling(3)
    x = torch.randn(2, 11, 6)
    image = x.transpose(1, 2)[:, :, None]
    ours = create_mixer("pooling", 6, causal=False)
    close("pooling", ours(x), theirs(image)[:, :, 0].transpose(1, 2), 1e-6)


@card.exact("an input that is the same everywhere gives exactly zero, at the ends too")
def constant() -> None:
    x = torch.randn(1, 1, 8, dtype=torch.float64).expand(2, 20, 8)
    for window in (3, 7):
        close("zero", create_mixer("pooling", 8, window=window, causal=False)(x), torch.zeros_like(x), 1e-14)


@card.exact(
    "whatever the mixer, the same block around it: two sublayers a layer, and the mixer's reach is the model's"
)
def any_mixer() -> None:
    for mixer, reach in (("pooling", 2), ("attention", None), ("mlp", 0)):
        body = Backbone(load_spec(f"[{mixer}]*2 channel=mlp dim=16 causal=false"))
        assert len(body.stack.mixers) == 4 and len(body.stack.residual.norms) == 4
        assert body.info.reach == (reach, reach)
