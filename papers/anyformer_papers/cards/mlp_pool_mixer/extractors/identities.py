"""Identities of Extractors, and its study."""

from __future__ import annotations

import torch
from torch import nn

from anyformer.laws.measures import close
from anyformer.mixers.convolution.extractor import WEIGHTS, Extractor
from anyformer.mixers.pooling.pooling import Pooling
from anyformer_papers.identity import identity
from anyformer_papers.study import Study

study = Study(
    task="listops",
    arms={
        "matrix": "[extractor(context_len=16, weights=matrix)]*2",
        "attention": "[attention]*2",
    },
    smallest=0.02,
    options={"length": 16},
    steps=500,
    parameters=20_000,
)


@identity("each member = its double loop, with the number of parameters that its name says")
def loops() -> None:
    T, D, L = 11, 6, 4
    x = torch.randn(1, T, D, dtype=torch.float64)
    sizes = {"matrix": L * D * D, "vector": L * D, "scalar": L, "mean": 0}
    for kind in WEIGHTS:
        mixer = Extractor(D, context_len=L, weights=kind).double()
        assert (0 if mixer.weight is None else mixer.weight.numel()) == sizes[kind]
        values = mixer.value(x)[0]
        rows = []
        for t in range(T):
            total = torch.zeros(D, dtype=torch.float64)
            for i in range(min(L, t + 1)):
                if mixer.weight is None:
                    total = total + values[t - i] / min(L, t + 1)
                elif kind == "matrix":
                    total = total + mixer.weight[..., i] @ values[t - i]
                else:
                    total = total + mixer.weight[:, 0, i] * values[t - i]
            rows.append(total * mixer.adjust(x[0, t]))
        close(kind, mixer(x)[0], torch.stack(rows))


@identity("richer members hold the cheaper ones: a scalar is a constant vector, a vector a diagonal matrix")
def nested() -> None:
    D, L = 6, 4
    scalar, vector, matrix = (
        Extractor(D, context_len=L, weights=kind).double() for kind in ("scalar", "vector", "matrix")
    )
    assert isinstance(scalar.value, nn.Linear)
    for other in (vector, matrix):
        other.adjust.load_state_dict(scalar.adjust.state_dict())
    vector.value.load_state_dict(scalar.value.state_dict())
    assert vector.weight is not None and scalar.weight is not None and matrix.weight is not None
    vector.weight.data = scalar.weight.data.expand(D, 1, L).clone()
    matrix.weight.data = torch.einsum("xyl,de->del", scalar.weight.data, scalar.value.weight.data)
    x = torch.randn(2, 9, D, dtype=torch.float64)
    close("vector", vector(x), scalar(x))
    close("matrix", matrix(x), scalar(x))


@identity("with nothing to adjust by, the cheapest is PoolFormer's pooling (plus the token) over the past")
def pooling() -> None:
    mixer = Extractor(6, context_len=5, weights="mean").double()
    assert isinstance(mixer.value, nn.Linear)
    with torch.no_grad():
        mixer.value.weight.copy_(torch.eye(6))
        mixer.adjust.weight.zero_()
        mixer.adjust.bias.fill_(1.0)
    x = torch.randn(2, 12, 6, dtype=torch.float64)
    close("pooling", mixer(x), Pooling(6, window=5)(x) + x)
