"""Identities of Power Law Graph Transformer, and its study."""

from __future__ import annotations

import torch
from torch.nn.functional import leaky_relu, relu, scaled_dot_product_attention

from anyformer.laws.checks import from_heads, heads_of
from anyformer.laws.measures import close
from anyformer.mixers.softmax.power_law_attention import PowerLawAttention
from anyformer_papers.identity import identity
from anyformer_papers.study import Study

study = Study(  # a proxy: the metric costs no accuracy, on expressions in the place of translations
    task="listops",
    arms={
        "metric": "[power_law_attention]*2 positions=sinusoidal causal=false",
        "none": "[attention]*2 positions=sinusoidal causal=false",
    },
    options={"length": 16},
    smallest=0.02,
    expect="no worse",
    steps=1000,
    parameters=30_000,
)


@identity("with the form forced to one, and positive scores, it is scaled dot-product attention")
def identity_form() -> None:
    x = torch.rand(2, 12, 16, dtype=torch.float64)
    for causal in (True, False):
        mixer = PowerLawAttention(16, causal=causal).double()
        with torch.no_grad():
            mixer.coupling.zero_()
            mixer.coupling_bias.copy_(torch.eye(4))
            for layer in (mixer.q, mixer.k):
                layer.weight.abs_(), layer.bias.abs_()
        q, k, v = heads_of(mixer, x)
        y = scaled_dot_product_attention(q, k, v, is_causal=causal)
        close(f"causal={causal}", mixer(x), from_heads(mixer, y))


@identity("the layer = the released code's steps, with its floor of 1e-9")
def steps() -> None:
    mixer, x = PowerLawAttention(16, causal=False, floor=1e-9).double(), torch.randn(2, 12, 16).double()
    q, k, v = heads_of(mixer, x)
    A = q.mT @ q
    for unit in mixer.units:
        A = unit.get_submodule("norm")(A + unit.get_submodule("down")(relu(unit.get_submodule("up")(A))))
    G = (
        mixer.coupling @ (relu(mixer.weight @ A + mixer.weight_bias) + 1e-9) ** mixer.power
        + mixer.coupling_bias
    )
    p = leaky_relu(q @ G @ k.mT / 2, 0.2).softmax(-1)
    close("y", mixer(x), from_heads(mixer, p @ v))
    close("G", mixer.deduce(x).curvature, G)


@identity(
    "a causal layer's last token has the form of the whole sequence, and no token depends on later ones"
)
def prefixes() -> None:
    causal, whole = PowerLawAttention(16).double(), PowerLawAttention(16, causal=False).double()
    whole.load_state_dict(causal.state_dict())
    x = torch.randn(2, 12, 16, dtype=torch.float64)
    close("last", causal(x)[:, -1], whole(x)[:, -1])
    for t in (1, 5, 11):
        close(f"first {t}", causal(x)[:, :t], causal(x[:, :t]))


@identity("metric and potential are positive and finite, and one of each head comes out")
def outputs() -> None:
    found = PowerLawAttention(16, floor=1e-9).deduce(10 * torch.randn(3, 20, 16))
    for tensor in found:
        assert tensor.shape == (3, 4, 4, 4) and bool(tensor.isfinite().all())
    assert bool((found.metric > 0).all()) and bool((found.potential > 0).all())
