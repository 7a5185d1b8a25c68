"""Identities of The global context mechanism, and its study."""

from __future__ import annotations

import torch
from torch import Tensor

from anyformer.laws.measures import close
from anyformer.layers.global_context import GlobalContext
from anyformer.mixers.recurrent.lstm import Lstm
from anyformer_papers.identity import identity
from anyformer_papers.study import Study

study = Study(  # labels inside a sentence that depend on both of its ends
    task="ends",
    arms={
        "context": "[lstm(global_context=true)] causal=false positions=none",
        "plain": "[lstm(global_context=false)] causal=false positions=none",
    },
    options={"length": 32},
    smallest=0.01,
    steps=250,
    parameters=29_520,
)


def _with_gates(own: float, context: float) -> tuple[Lstm, Lstm, Tensor]:
    """A mixer whose gates are shut (-50) or open (50), the same without the mechanism, and an input."""
    gated, plain = (Lstm(8, global_context=g, causal=False).double() for g in (True, False))
    plain.load_state_dict({k: v for k, v in gated.state_dict().items() if not k.startswith("context")})
    assert gated.context is not None
    with torch.no_grad():
        for gate, value in ((gated.context.own_gate, own), (gated.context.context_gate, context)):
            gate.weight.zero_()
            gate.bias.fill_(value)
    return gated, plain, torch.randn(2, 15, 8, dtype=torch.float64)


@identity(
    "own gate open and context gate shut: the tagger alone; the other way round: one vector for all tokens"
)
def gates() -> None:
    gated, plain, x = _with_gates(50.0, -50.0)
    close("the tagger alone", gated(x), plain(x))
    gated, plain, x = _with_gates(-50.0, 50.0)
    h = plain(x)
    ends = torch.cat((h[:, 0, 4:], h[:, -1, :4]), -1)  # backward at the first token, forward at the last
    close("one vector", gated(x), ends[:, None].expand_as(h))


@identity("of ragged sentences the ends are each one's own")
def ragged() -> None:
    gated, plain, x = _with_gates(0.3, 0.7)
    mask = torch.arange(15) < torch.tensor([[15], [6]])
    alone = gated(x[1:, :6])
    close("padded", gated(x, mask=mask)[1:, :6], alone)
    h = plain(x[1:, :6])
    ends = torch.cat((h[:, 0, 4:], h[:, -1, :4]), -1)[:, None]
    i, j = torch.tensor(0.3).sigmoid().double(), torch.tensor(0.7).sigmoid().double()
    close("by hand", alone, i * h + j * ends, 1e-7)  # biases are float32


@identity("the gates of each token and channel, by the formula")
def formula() -> None:
    layer = GlobalContext(6).double()
    h, g = torch.randn(2, 9, 6, dtype=torch.float64), torch.randn(2, 6, dtype=torch.float64)
    for b in range(2):
        for t in range(9):
            both = torch.cat((g[b], h[b, t]))
            i, j = layer.own_gate(both).sigmoid(), layer.context_gate(both).sigmoid()
            close("y", layer(h, g)[b, t], i * h[b, t] + j * g[b])


@identity("the encoder is PyTorch's bidirectional LSTM")
def equals_torch() -> None:
    mixer, theirs = (
        Lstm(8, causal=False).double(),
        torch.nn.LSTM(8, 4, batch_first=True, bidirectional=True).double(),
    )
    with torch.no_grad():
        for direction, suffix in enumerate(("", "_reverse")):
            getattr(theirs, f"weight_ih_l0{suffix}").copy_(mixer.weight[direction])
            getattr(theirs, f"weight_hh_l0{suffix}").copy_(mixer.recurrent[direction])
            getattr(theirs, f"bias_ih_l0{suffix}").copy_(mixer.bias[direction])
            getattr(theirs, f"bias_hh_l0{suffix}").zero_()
    x = torch.randn(2, 30, 8, dtype=torch.float64)
    close("y", mixer(x), theirs(x)[0])
