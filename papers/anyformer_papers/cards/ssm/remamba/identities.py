"""Identities of ReMamba, and its study."""

from __future__ import annotations

import torch

from anyformer.contract import Call
from anyformer.laws.checks import in_pieces
from anyformer.laws.measures import close
from anyformer.mixers.state_space.mamba import Mamba
from anyformer.wrappers.remamba import ReMamba
from anyformer_papers.identity import identity
from anyformer_papers.study import Study

study = Study(  # a proxy: symbols among noise, compressed to a quarter
    task="selective_copy",
    arms={
        "importance": "[remamba([mamba*2], prompt=28, ratio=0.25, select=importance)] channel=none",
        "uniform": "[remamba([mamba*2], prompt=28, ratio=0.25, select=uniform)] channel=none",
    },
    options={"length": 32, "num_symbols": 4},
    smallest=0.05,
    steps=300,
    batch_size=16,
    parameters=30_000,
)


def make(**options: float | str) -> ReMamba:
    return ReMamba(8, Mamba(8, state_dim=4), prompt=20, **options).double()


@identity("all kept as they are, with steps unscaled: plain Mamba")
def reduces() -> None:
    mixer, x = make(ratio=1.0), torch.randn(2, 33, 8, dtype=torch.float64)
    with torch.no_grad():
        mixer.strength.zero_()
    close("Mamba", mixer(x), mixer.inner(x))


@identity("the second pass is Mamba on the kept tokens and what follows, in their order, with scaled steps")
def second_pass() -> None:
    mixer, x = make(start=0.1, stop=0.8), torch.randn(1, 33, 8, dtype=torch.float64)
    h = mixer.inner(x[:, :20])
    place, score = mixer.choose(h)
    kept = place[0].tolist()
    assert kept == sorted(kept) and len(kept) == 4 and kept[0] >= 2 and kept[-1] < 16
    every = torch.nn.functional.cosine_similarity(mixer.query(h[:, -1:]), mixer.key(h[:, 2:16]), dim=-1)[0]
    assert {k - 2 for k in kept} == set(every.topk(4).indices.tolist())
    read = x[:, [0, 1, *kept, *range(16, 33)]]
    scale = torch.ones(1, 23, dtype=torch.float64)
    scale[:, 2:6] = score.exp()
    y = mixer.inner(read, call=Call(side={"step_scale": scale}))
    close("after the prompt", mixer(x)[:, 20:], y[:, 10:])
    close("in the prompt", mixer(x)[:, :20], h)


@identity("streamed token by token = the whole, samples at the end of their prompts at different times")
def streamed() -> None:
    mixer, x = make(), torch.randn(2, 30, 8, dtype=torch.float64)
    _, state = mixer.stream(
        x[:, :7], mixer.init_state(2), mask=torch.tensor([[True] * 7, [True] * 3 + [False] * 4])
    )
    rest = torch.stack((x[0, 7:], x[1, 3:26]))
    y, _ = in_pieces(mixer, rest, 1, state)
    whole = mixer(x)
    close("the first", y[0], whole[0, 7:])
    close("the second", y[1], whole[1, 3:26])


@identity("the importance learns: it gets a gradient from what comes after the prompt, by the steps alone")
def learns() -> None:
    mixer, x = make(), torch.randn(2, 30, 8, dtype=torch.float64)
    mixer(x)[:, 20:].square().sum().backward()
    for layer in (mixer.query, mixer.key):
        assert layer.weight.grad is not None and float(layer.weight.grad.abs().min()) > 0
