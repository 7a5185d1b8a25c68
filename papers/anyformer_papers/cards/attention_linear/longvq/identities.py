"""Identities of LongVQ, and its study."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import layer_norm

from anyformer.contract import Call, after_step
from anyformer.laws.checks import inputs_of, streams
from anyformer.laws.measures import close
from anyformer.mixers.linear.longvq import LongVQ
from anyformer.ops.attention import attention
from anyformer_papers.identity import identity
from anyformer_papers.study import Study

study = Study(  # a proxy: quantised attention with and without the structured memory
    task="recall",
    arms={
        "memory": "[longvq(num_codes=32, num_averages=4)]*2",
        "codes": "[longvq(num_codes=32, num_averages=0)]*2",
    },
    smallest=0.05,
    steps=400,
    parameters=37_568,
)


def _parts(mixer: LongVQ, x: Tensor) -> tuple[Tensor, Tensor, Tensor, list[Tensor]]:
    """Normed queries and keys, values, and what the gates need."""
    q, k, v, parts = mixer._project(x, mixer._averages(x), inputs_of(x))
    return layer_norm(q, q.shape[-1:]), layer_norm(k, k.shape[-1:]), v, parts


@identity("the codebook form is softmax attention to quantised keys, causal and not")
def dense() -> None:
    for causal in (True, False):
        mixer = LongVQ(12, num_averages=3, num_codes=5, causal=causal).double()
        with torch.no_grad():
            mixer.kappa.normal_()
        x = torch.randn(2, 60, 12, dtype=torch.float64)
        q, k, v, parts = _parts(mixer, x)
        nearest = torch.cdist(k, mixer.codebook).argmin(-1)
        assert len(nearest.unique()) > 2
        o = attention(q, mixer.codebook[nearest], v, causal=causal)
        close("y", mixer(x), mixer._finish(o, parts))


@identity("with the keys themselves for a codebook nothing is rounded: it is full attention")
def own_keys() -> None:
    mixer = LongVQ(12, num_averages=3, num_codes=40).double()
    with torch.no_grad():
        mixer.kappa.normal_()
    x = torch.randn(1, 40, 12, dtype=torch.float64)
    q, k, v, parts = _parts(mixer, x)
    mixer.codebook.copy_(k[0, 0].detach())
    close("y", mixer(x), mixer._finish(attention(q, k, v, causal=True), parts))


@identity("the state does not grow: what streams on from it is what the whole gives")
def streamed() -> None:
    mixer = LongVQ(12, num_averages=3, num_codes=5).double()
    x = torch.randn(1, 90, 12, dtype=torch.float64)
    for length in (7, 90):
        state = streams(mixer, x[:, :length], 7)
        assert state["own"]["s"].shape == (1, 1, 5, 25)


@identity("without memory of earlier steps an entry moves to the mean of the keys nearest to it")
def means() -> None:
    mixer = LongVQ(12, num_averages=3, num_codes=2, decay=0.0).double().train()
    with torch.no_grad():
        mixer.kappa.normal_()
    x, call = torch.randn(2, 60, 12, dtype=torch.float64), Call()
    _, k, _, _ = _parts(mixer, x)
    nearest = torch.cdist(k, mixer.codebook).argmin(-1)
    mixer(x, call=call)
    after_step([mixer], call, 0.0)
    for code in (0, 1):
        close("entry", mixer.codebook[code], k[nearest == code].mean(0), 1e-6)  # counts are smoothed by 1e-5
