"""Identities of Block-State Transformer, and its study."""

from __future__ import annotations

import torch
from torch import Tensor

from anyformer.laws.checks import heads_of, streams
from anyformer.laws.measures import close
from anyformer.layers.heads import merge_heads
from anyformer.mixers.state_space.block_state import CONTEXTS, BlockState
from anyformer.ops.attention import attention
from anyformer.ops.masks import Causal, Segments
from anyformer_papers.identity import identity
from anyformer_papers.study import Study

study = Study(  # what lies before the window
    task="recall",
    arms={
        "block-state": "[block_state(window=8)]*2",
        "window": "[attention(window=8)]*2",
    },
    options={"vocab_size": 16, "num_pairs": 4, "length": 36},
    smallest=0.05,
    steps=300,
    parameters=40_000,
)


def make(context: str) -> BlockState:
    options = {"window": 7, "num_states": 3, "state_dim": 4, "num_heads": 2, "context": context}
    return BlockState(8, **options).double()


@identity("windows side by side = one after the other = one token at a time, for every kind of context")
def parallel() -> None:
    x = torch.randn(2, 33, 8, dtype=torch.float64)
    for context in CONTEXTS:
        streams(make(context), x, 7, 1)


@identity("a token changes no output before it, and by the context none in its own window")
def causal() -> None:
    x = torch.randn(1, 33, 8, dtype=torch.float64)
    for context in CONTEXTS:
        mixer = make(context)
        with torch.no_grad():
            mixer.v.weight.zero_()  # all that is left comes by the context
        other = x.clone()
        other[:, 16] += 1
        moved = (mixer(other) - mixer(x)).detach().abs().amax((0, 2))
        changed = [t for t in range(33) if float(moved[t]) > 1e-9]
        assert changed[0] == 16, changed
        in_window = mixer._read(other[:, 16:17], *context_of(mixer, other)) - mixer._read(
            other[:, 16:17], *context_of(mixer, x)
        )
        close("the context of its own window", in_window, torch.zeros_like(in_window), 1e-12)


def context_of(mixer: BlockState, x: Tensor) -> tuple[Tensor, Tensor]:
    """The context states of the window that begins at 14, and which of them are there."""
    u = torch.cat([space(x) for space in mixer.spaces], -1)
    return mixer._states(u[:, 14 - mixer.places : 14]), torch.ones(1, 3, dtype=torch.bool)


@identity("with nothing read from the context it is attention within blocks")
def block_local() -> None:
    mixer, x = make("single_head"), torch.randn(2, 33, 8, dtype=torch.float64)
    with torch.no_grad():
        mixer.out.weight[:, 8:] = 0
    place = torch.arange(33).expand(2, 33)
    q, k, v = heads_of(mixer, x)
    q, k = mixer.positions.rotate(q, k, place.double())
    seen = (Segments(7, 0) & Causal()).dense(place, place)
    local = merge_heads(attention(q, k, v, visible=seen[:, None]))
    close("block-local attention", mixer(x), local @ mixer.out.weight[:, :8].T)
