"""Identities of SLAB, and its study."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.functional import batch_norm, conv2d, layer_norm

from anyformer.contract import Call, after_step, writers
from anyformer.convert import fold_norms
from anyformer.laws.checks import mixes, perturb
from anyformer.laws.measures import close
from anyformer.layers.norms.prep_bn import PRepBN
from anyformer.mixers.linear.simplified_attention import SimplifiedAttention
from anyformer.models import create_model
from anyformer.models.sequence import SequenceModel
from anyformer_papers.identity import identity
from anyformer_papers.study import Study

study = Study(  # nothing is lost by ending without layer norms
    task="digits",
    arms={
        "progressive": "[simplified_attention(grid=6)]*2 norm=prep_bn channel=mlp causal=false positions=learned",
        "layer norm": "[simplified_attention(grid=6)]*2 norm=layer_norm channel=mlp causal=false positions=learned",
    },
    options={"canvas": 12},
    smallest=0.02,
    expect="no worse",
    steps=1000,
    parameters=30_000,
)


@identity("share 1 is layer norm; share 0 is torch's batch norm plus alpha x, in training and in evaluation")
def ends() -> None:
    norm, x = PRepBN(6).double(), torch.randn(4, 9, 6, dtype=torch.float64) * 3 + 1
    close("layer norm", norm(x), layer_norm(x, (6,)))
    norm.share.zero_()
    norm.alpha.data.fill_(0.3)
    theirs = nn.BatchNorm1d(6).double()
    for _ in range(3):
        x = torch.randn(4, 9, 6, dtype=torch.float64) * 3 + 1
        call = Call()
        expected = theirs(x.mT).mT + 0.3 * x
        close("training", norm.train()(x, call=call), expected)
        after_step([norm], call, 1.0)
    assert theirs.running_mean is not None and theirs.running_var is not None
    close("mean", norm.running_mean, theirs.running_mean)
    close("variance", norm.running_var, theirs.running_var)
    whole = batch_norm(x.mT, theirs.running_mean, theirs.running_var).mT + 0.3 * x
    close("evaluation", norm.eval()(x), whole)


@identity("padding is left out of the statistics")
def padding() -> None:
    x, mask = torch.randn(2, 9, 6, dtype=torch.float64), torch.arange(9) < torch.tensor([[9], [4]])
    found = []
    for given in ((x, mask), (torch.cat((x[:1], x[1:, :4].expand(1, 4, 6)), 1)[:, :13], None)):
        norm, call = PRepBN(6).double().train(), Call()
        norm(given[0], mask=given[1], call=call)
        after_step([norm], call, 0.5)
        found.append(norm)
        assert float(norm.share) == 0.5
    close("mean", found[0].running_mean, found[1].running_mean)
    close("variance", found[0].running_var, found[1].running_var)


def trained(spec: str) -> SequenceModel:
    """A model whose norms have come to the end of their training, on something."""
    model = create_model(spec, num_features=3, num_outputs=2, pool="mean").double().train()
    for step in range(5):
        call = Call()
        model(torch.randn(4, 16, 3, dtype=torch.float64), call=call)
        after_step(writers(model), call, (step + 1) / 5)
    perturb(model, 0.3, lambda name: "norms" in name or "last" in name)
    return model.eval()


@identity("folded into the maps behind them, the norms are gone and outputs are the same")
def folds() -> None:
    x = torch.randn(2, 16, 3, dtype=torch.float64)
    for layers in ("[simplified_attention(grid=4)]*2", "[attention]*2"):
        model = trained(f"{layers} dim=16 norm=prep_bn channel=mlp causal=false")
        folded = fold_norms(model)
        assert not any(isinstance(m, PRepBN) for m in folded.modules())
        close(layers, folded(x), model(x), 1e-10)


@identity("attention in linear and in quadratic order agree; the local term is torch's 5 x 5 convolution")
def orders() -> None:
    mixer, x = (
        SimplifiedAttention(8, num_heads=2, grid=6, causal=False).double(),
        torch.randn(1, 24, 8).double(),
    )
    mixes(mixer, x)
    found = mixer.mixing(x)
    assert found is not None
    v = found.values[0]  # (H, T, V)
    image = v.mT.unflatten(-1, (4, 6))
    theirs = conv2d(image, mixer.taps.flip(1, 2)[:, None], padding=2, groups=4)
    close("local", mixer._local(found.values)[0], theirs.flatten(2).mT)
