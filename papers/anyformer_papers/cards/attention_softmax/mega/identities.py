"""Identities of Mega, and its study."""

from __future__ import annotations

import math

import torch
from torch.nn.functional import relu, silu

from anyformer.laws.checks import mixes
from anyformer.laws.measures import close
from anyformer.layers.ema import DampedEMA
from anyformer.mixers.softmax.mega import Mega
from anyformer.models import create_model
from anyformer.ops.attention import attention
from anyformer_papers.identity import identity
from anyformer_papers.study import Study

study = Study(  # the averages' part where a value stands next to its key
    task="recall",
    arms={
        "averages": "[mega(num_averages=16)]*2 positions=t5",
        "none": "[mega(num_averages=0)]*2 positions=t5",
    },
    options={"vocab_size": 16, "num_pairs": 4, "length": 24},
    smallest=0.05,
    steps=600,
    parameters=30_000,
)


@identity("the averages by FFT = their recurrence, and one undamped average = the classic EMA")
def averages() -> None:
    ema, x = DampedEMA(3, 4).double(), torch.randn(2, 60, 3, dtype=torch.float64)
    alpha, delta = ema.alpha[0].sigmoid(), ema.delta[0].sigmoid()
    state, outputs = torch.zeros(2, 3, 4, dtype=torch.float64), []
    for u in x.unbind(1):
        state = alpha * ema.beta[0] * u[..., None] + (1 - alpha * delta) * state
        outputs.append((ema.eta[0] * state).sum(-1))
    close("h_t", ema(x), torch.stack(outputs, 1))
    one = DampedEMA(1, 1).double()
    with torch.no_grad():
        one.alpha.fill_(math.log(0.3 / 0.7)), one.delta.fill_(40.0), one.beta.fill_(1.0), one.eta.fill_(1.0)
    y, classic = x.new_zeros(2), []
    for u in x[..., 0].unbind(1):
        y = 0.3 * u + 0.7 * y
        classic.append(y)
    close("EMA", one(x[..., :1])[..., 0], torch.stack(classic, 1))


@identity("Laplace attention meets relu(x)^2 and its slope at sqrt(1/2), and is bounded by 1")
def laplace() -> None:
    q = torch.tensor([0.5**0.5, -50.0, 50.0], dtype=torch.float64, requires_grad=True)
    one = torch.ones(1, 1, 1, 1, dtype=torch.float64)
    f = attention(q[None, None, :, None], one, one, scale=1.0, normalizer="laplace").flatten()
    (slope,) = torch.autograd.grad(f.sum(), q)
    close("value", f, torch.stack([relu(q[0]) ** 2, 0 * q[1], 0 * q[2] + 1]))
    close("slope", slope[0], 2 * q[0])


@identity("in chunks as long as the sequence = all at once; in shorter ones each chunk attends alone")
def chunks() -> None:
    whole, x = Mega(8, num_averages=2).double(), torch.randn(2, 24, 8, dtype=torch.float64)
    for size in (24, 6):
        part = Mega(8, num_averages=2, chunk_len=size).double()
        part.load_state_dict(whole.state_dict())
        block = torch.block_diag(*[torch.ones(size, size)] * (24 // size)).double()
        alone = mixes(whole, x) * block
        close("p", mixes(part, x), alone / alone.sum(-1, keepdim=True))
        if size == 24:
            close("y", part(x), whole(x))


@identity("the model's layer = norm(phi h + (1 - phi) x), and with the gate open and no attention, norm(h)")
def gate() -> None:
    model = create_model("mega", vocab_size=5, dim=8, depth=1, channel="none").double()
    mixer = next(m for m in model.modules() if isinstance(m, Mega))
    x = torch.randn(2, 12, 8, dtype=torch.float64)
    assert mixer.ema is not None
    with torch.no_grad():
        mixer.gates.bias[-16:-8] = 50.0  # phi = 1
        mixer.out.weight.zero_()
    e = silu(mixer.ema(x) + mixer.omega * x)
    h = silu(mixer.gates(e)[..., -8:])
    close("layer", model.body.stack(x), torch.nn.functional.layer_norm(h, (8,)), 1e-9)
