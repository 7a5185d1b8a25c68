"""ReMamba."""

from __future__ import annotations

import torch

from anyformer.blocks.remamba import ReMamba
from anyformer.contract import Call
from anyformer.mixers.mamba import Mamba
from anyformer.testing.measures import close
from anyformer_papers.card import Card
from anyformer_papers.study import Study

card = Card(
    slug="remamba",
    what="A prompt is read twice. After the first pass the few tokens that matter to its end are chosen by their "
    "states; the second pass reads only them, with steps in proportion to how much they matter, and goes on from "
    "there.",
    parts=("blocks.remamba:ReMamba", "mixer mamba", "task selective_copy"),
    differs="dt_i becomes exp(a s_i) dt_i, s_i = cos(W_q h_last, W_k h_i), and of a part of the prompt only the K "
    "tokens of largest s are read. Plain Mamba reads all once; uniform subsampling knows no s.",
    followed="reconstruction",
    notes="How the score enters the step is from memory: a factor exp(a s) here. A kept token is x_i + W_v h_i with "
    "W_v 0 at the start, where the paper replaces it by W_v h_i. The prompt has a fixed length, so that the wrapper is "
    "causal and streams; LoRA and tuning on instructions are left out.",
    claim="3.2 points above Mamba on LongBench and 1.6 on L-Eval, near Transformers of the same size.",
    beyond_reach="scale",
    study=Study(  # a proxy: symbols among noise, compressed to a quarter
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
    ),
)


def make(**options: float | str) -> ReMamba:
    return ReMamba(8, Mamba(8, state_dim=4), prompt=20, **options).double()  # type: ignore[arg-type]


@card.exact("all kept as they are, with steps unscaled: plain Mamba")
def reduces() -> None:
    mixer, x = make(ratio=1.0), torch.randn(2, 33, 8, dtype=torch.float64)
    with torch.no_grad():
        mixer.strength.zero_()
    close("Mamba", mixer(x), mixer.inner(x))


@card.exact("the second pass is Mamba on the kept tokens and what follows, in their order, with scaled steps")
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


@card.exact("streamed token by token = the whole, samples at the end of their prompts at different times")
def streams() -> None:
    mixer, x = make(), torch.randn(2, 30, 8, dtype=torch.float64)
    _, state = mixer.stream(
        x[:, :7], mixer.init_state(2), mask=torch.tensor([[True] * 7, [True] * 3 + [False] * 4])
    )
    rest = torch.stack((x[0, 7:], x[1, 3:26]))
    steps = []
    for token in rest.split(1, 1):
        y, state = mixer.stream(token, state)
        steps.append(y)
    streamed, whole = torch.cat(steps, 1), mixer(x)
    close("the first", streamed[0], whole[0, 7:])
    close("the second", streamed[1], whole[1, 3:26])


@card.exact("the importance learns: it gets a gradient from what comes after the prompt, by the steps alone")
def learns() -> None:
    mixer, x = make(), torch.randn(2, 30, 8, dtype=torch.float64)
    mixer(x)[:, 20:].square().sum().backward()
    for layer in (mixer.query, mixer.key):
        assert layer.weight.grad is not None and float(layer.weight.grad.abs().min()) > 0
