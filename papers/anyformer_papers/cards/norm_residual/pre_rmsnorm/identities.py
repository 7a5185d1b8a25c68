"""Identities of Pre-RMSNorm and Pre-CRMSNorm, and its study."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from anyformer.convert import from_hf, pre_rms_norm
from anyformer.laws.checks import perturb
from anyformer.laws.measures import close
from anyformer.layers.norms.crms_norm import CRMSNorm
from anyformer.models import SequenceModel, create_model
from anyformer_papers.identity import identity, peer
from anyformer_papers.study import Study

study = Study(
    task="listops",
    arms={
        "rms_norm": "[attention]*2 norm=rms_norm",
        "crms_norm": "[attention]*2 norm=crms_norm",
        "layer_norm": "[attention]*2 norm=layer_norm",
    },
    smallest=0.02,
    expect="no worse",
    options={"length": 16},
    steps=1000,
    parameters=30_000,
    seeds=8,
)


def pre_layer_norm(**changes: object) -> SequenceModel:
    """A small model with all its parameters moved off their starts."""
    model = create_model("[attention, attention(channel=mlp)] norm=layer_norm dim=16", **changes)  # type: ignore[arg-type]
    perturb(model, 0.3)
    return model.double().eval()


@identity("the converted models, of width D and D - 1, give the same outputs and gradients of the input")
def equivalent() -> None:
    model = pre_layer_norm(num_features=5, num_outputs=3)
    x = torch.randn(2, 20, 5, dtype=torch.float64, requires_grad=True)

    def run(model: SequenceModel) -> tuple[Tensor, Tensor]:
        y = model(x)
        return y, torch.autograd.grad(y.square().sum(), x)[0]

    y, gradient = run(model)
    for compact in (False, True):
        other = pre_rms_norm(model, compact=compact)
        assert other.spec.dim == 16 - compact
        close("outputs", run(other)[0], y, 1e-10)
        close("gradient", run(other)[1], gradient, 1e-10)


@identity("after conversion the stream has mean zero before every norm, and before it had not")
def zero_mean() -> None:
    means: list[float] = []

    def note(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        means.append(float(inputs[0].detach().mean(-1).abs().max()))

    model = pre_layer_norm(vocab_size=11, positions="learned(max_length=32)")
    x = torch.randint(0, 11, (2, 20))
    for model_ in (model, pre_rms_norm(model)):
        residual = model_.body.stack.residual
        for norm in (*residual.norms, residual.last):
            norm.register_forward_pre_hook(note)
        model_(x)
    assert min(means[:5]) > 1e-3 and max(means[5:]) < 1e-12


@identity("CRMSNorm of D - 1 coordinates = those of RMSNorm of all D, the last being minus their sum")
def compact_norm() -> None:
    z = torch.randn(7, 15, dtype=torch.float64)
    whole = torch.cat([z, -z.sum(-1, keepdim=True)], -1)
    rms = nn.RMSNorm(16, eps=1e-3, elementwise_affine=False)
    close("CRMSNorm", CRMSNorm(15, eps=1e-3).double()(z), rms(whole)[:, :15])


@identity("GPT-2 of transformers, converted, gives the logits of GPT-2")
def gpt2() -> None:
    transformers = peer("transformers")
    config = transformers.GPT2Config(
        vocab_size=19, n_embd=16, n_layer=2, n_head=2, n_positions=32, bos_token_id=0, eos_token_id=0
    )
    theirs = transformers.GPT2LMHeadModel(config).double().eval()
    perturb(theirs, 0.1)
    tokens = torch.randint(0, 19, (2, 20))
    for compact in (False, True):
        ours = pre_rms_norm(from_hf(theirs), compact=compact)
        close("logits", ours(tokens), theirs(tokens).logits, 1e-10)
