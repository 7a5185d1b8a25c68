"""Identities of Hybrid QRNN-Transformer language models, and its study."""

from __future__ import annotations

import torch
from torch import Tensor

from anyformer.laws.checks import equal_with_gradients, streams
from anyformer.laws.measures import close
from anyformer.mixers.recurrent.qrnn import Qrnn
from anyformer.models import create_model
from anyformer_papers.identity import identity
from anyformer_papers.study import Study

study = Study(
    task="bytes",
    arms={
        "hybrid": "[qrnn, qrnn, attention]",
        "attention": "[attention, attention, attention]",
    },
    options={"length": 64},
    smallest=0.05,
    steps=1500,
    parameters=100_000,
)


@identity("fo-pooling as a scan = the loop, values and gradients")
def loop() -> None:
    mixer, x = Qrnn(8).double(), torch.randn(2, 70, 8, dtype=torch.float64)
    before = torch.cat((torch.zeros(2, 1, 8, dtype=torch.float64), x[:, :-1]), 1)
    z, f, o = mixer.gates(torch.cat((before, x), -1)).chunk(3, -1)
    z, f, o = z.tanh(), f.sigmoid(), o.sigmoid()
    c, outputs = torch.zeros(2, 8, dtype=torch.float64), []
    for t in range(70):
        c = f[:, t] * c + (1 - f[:, t]) * z[:, t]
        outputs.append(o[:, t] * c)
    equal_with_gradients("y", mixer(x), torch.stack(outputs, 1), mixer.parameters())


@identity("forget gates at zero leave a convolution, at one nothing; a constant one is a moving average")
def limits() -> None:
    x = torch.randn(2, 40, 8, dtype=torch.float64)

    def with_forget(bias: float) -> tuple[Tensor, Tensor, Tensor]:
        mixer = Qrnn(8, width=1).double()
        with torch.no_grad():
            mixer.gates.weight[8:16] = 0
            mixer.gates.bias[8:16] = bias
        z, _, o = mixer.gates(x).chunk(3, -1)
        return mixer(x), z.tanh(), o.sigmoid()

    y, z, o = with_forget(-50.0)
    close("zero", y, o * z)
    y, z, o = with_forget(50.0)
    close("one", y, torch.zeros_like(y))
    y, z, o = with_forget(0.0)
    age = torch.arange(40)[:, None] - torch.arange(40)
    weights = torch.where(age >= 0, 0.5 ** (age + 1.0), 0.0).double()
    close("a half", y, o * (weights @ z))


@identity("any schedule streams: one token at a time = the whole, feed-forward layers between")
def schedules() -> None:
    for layers in ("[qrnn, qrnn, attention]", "[qrnn, mlp, attention, qrnn(width=3)]"):
        model = create_model(f"{layers} dim=16", vocab_size=9).double().eval()
        streams(model, torch.randint(9, (2, 20)))
