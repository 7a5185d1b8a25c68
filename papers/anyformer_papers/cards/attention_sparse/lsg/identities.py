"""Identities of LSG attention, and its study."""

from __future__ import annotations

import torch

from anyformer.convert import local_sparse_global
from anyformer.laws.checks import reduces_to
from anyformer.laws.measures import close
from anyformer.mixers import create_mixer
from anyformer.mixers.sparse.lsg_attention import SELECTIONS, LSGAttention
from anyformer.models import create_model
from anyformer.ops import FlopCounter
from anyformer_papers.identity import identity
from anyformer_papers.study import Study

study = (
    Study(  # a proxy: what stands beyond the neighbouring blocks can be found through the thinned-out view
        task="lookup",
        arms={
            "norm": "[lsg_attention(block=2, sparsity=2, num_global=0, selection=norm)]*2 causal=false "
            "positions=sinusoidal",
            "local": "[lsg_attention(block=2, sparsity=2, num_global=0, selection=local)]*2 causal=false "
            "positions=sinusoidal",
        },
        smallest=0.05,
        steps=1000,
        parameters=30_000,
    )
)


@identity(
    "up to two blocks it is softmax attention, whatever the selection; a converted encoder keeps its outputs"
)
def short() -> None:
    x = torch.randn(2, 17, 16, dtype=torch.float64)
    plain = create_mixer("attention", 16, positions="none", causal=False).double()
    spec = "[attention]*2 dim=16 causal=false positions=learned(max_length=20)"
    model = create_model(spec, vocab_size=9, num_outputs=3, pool="mean").double().eval()
    tokens = torch.randint(9, (2, 17))
    for selection in SELECTIONS:
        mixer = LSGAttention(16, block=8, selection=selection).double()
        reduces_to(plain, mixer, x, strict=False, what=selection, tolerance=1e-12)
        new = local_sparse_global(model, block=8, selection=selection, max_length=100)
        close(f"model, {selection}", new(tokens), model(tokens), 1e-12)


@identity("a token is reached as far as said: b f tokens beyond the neighbouring blocks, and no further")
def reach() -> None:
    b, f, n = 12, 3, 144
    mixer = LSGAttention(16, block=b, sparsity=f, selection="pooling", num_global=0).double()
    x = torch.randn(1, n, 16, dtype=torch.float64)
    y, start = mixer(x), n // 2 // b * b  # the first token of a block
    for j, sees in (
        (start - b - b * f, True),
        (start - b - b * f - 1, False),
        (start + 2 * b + b * f, False),
    ):
        other = x.clone()
        other[0, j] += 1.0
        assert bool((mixer(other)[0, start] != y[0, start]).any()) == sees, j


@identity("with global tokens everything is seen: they see all and all see them, after two layers")
def through_global() -> None:
    model = torch.nn.Sequential(*(LSGAttention(8, block=2, selection="local") for _ in range(2))).double()
    x = torch.randn(1, 40, 8, dtype=torch.float64)
    other = x.clone()
    other[0, -1] += 1.0
    assert bool((model(other) != model(x)).any(-1).all())


@identity("operations grow with the length, not its square")
def linear() -> None:
    counted = []
    for n in (257, 513):
        with torch.no_grad(), FlopCounter() as counter:
            LSGAttention(16, block=16)(torch.randn(1, n, 16))
        counted.append(counter.total)
    assert 1.95 < counted[1] / counted[0] < 2.05, counted
