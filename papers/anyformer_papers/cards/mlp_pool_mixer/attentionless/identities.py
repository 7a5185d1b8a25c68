"""Identities of Attentionless Transformers, and its study."""

from __future__ import annotations

import torch
from torch.nn.functional import pad, relu

from anyformer.convert.replace import record_sublayer, replace_sublayer, teach
from anyformer.laws.measures import close
from anyformer.mixers.pooling.flat_mlp import FlatMLP
from anyformer.models import create_model
from anyformer_papers.identity import identity
from anyformer_papers.study import Study

study = Study(
    task="listops",
    arms={
        "flat_mlp": "[flat_mlp(max_length=64)]*2",
        "attention": "[attention]*2",
    },
    smallest=0.02,
    expect="no worse",
    options={"length": 16},
    steps=1000,
    parameters=102_500,
)


@identity("the network = its formula on the flat sequence, filled up with zeros")
def formula() -> None:
    mixer = FlatMLP(3, max_length=6, hidden_dim=5, causal=False).double()
    x = torch.randn(2, 4, 3, dtype=torch.float64)
    flat = pad(x, (0, 0, 0, 2)).flatten(1)
    hidden = relu(flat @ mixer.up.flatten(0, 1) + mixer.up_bias)
    y = (hidden @ mixer.down.transpose(0, 1).flatten(1)).unflatten(1, (6, 3)) + mixer.down_bias
    close("flat", mixer(x), y[:, :4])


@identity("causal, each token gets what the network says of its prefix, filled up with zeros")
def prefixes() -> None:
    causal = FlatMLP(3, max_length=6, hidden_dim=5).double()
    whole = FlatMLP(3, max_length=6, hidden_dim=5, causal=False).double()
    whole.load_state_dict(causal.state_dict())
    x = torch.randn(2, 6, 3, dtype=torch.float64)
    for t in range(6):
        close(f"token {t}", causal(x)[:, t], whole(x[:, : t + 1])[:, t])


@identity("a layer's recording, played through it again and put back, leaves the model what it was")
def replay() -> None:
    model = create_model("[attention]*2 causal=false dim=16", vocab_size=9).double().eval()
    tokens = torch.randint(0, 9, (3, 8))
    y = model(tokens)
    inputs, outputs = record_sublayer(model, 2, tokens)
    layer = model.body.stack.mixers[2]
    close("replayed", layer(inputs), outputs)
    replace_sublayer(model, 2, layer)
    close("put back", model(tokens), y)


@identity("a shallow network taught on recordings comes near the layer, nearer the wider it is")
def taught() -> None:
    model = create_model("[attention]*2 causal=false dim=16", vocab_size=9).eval()
    inputs, outputs = record_sublayer(model, 0, torch.randint(0, 9, (8, 6)))
    losses = []
    for hidden in (2, 64):
        mixer = FlatMLP(16, max_length=6, hidden_dim=hidden, causal=False)
        losses.append(teach(mixer, inputs, outputs, steps=60, learning_rate=2e-2))
    assert losses[1] < 0.3 * losses[0] and losses[1] < 0.3 * float(outputs.square().mean()), losses
